import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CheckpointError } from '../../../src/clip/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import {
  archiveOf,
  moduleTree,
  rebuild,
  smallWeights,
  stateDict,
  storageType,
} from '../../clip/checkpoint/checkpoint-maker.ts';
import { toHuggingFace } from '../../clip/checkpoint/hugging-face-maker.ts';
import { type Python, pickle } from '../../clip/checkpoint/pickle-writer.ts';
import { safetensors } from '../../clip/checkpoint/safetensors-writer.ts';
import { concat } from '../../media/sample-pictures.ts';
import { check, type Target } from '../target.ts';

/** The first byte of an input says what the rest is. */
const modes = { file: 'f', pickle: 'p', safetensors: 's', openClip: 'o', huggingFace: 'h' } as const;

const folder = mkdtempSync(join(tmpdir(), 'fuzz-checkpoints-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const madePath = join(folder, 'model.bin');

/** More would only take time. */
const READ_WEIGHTS = 5;
const READ_VALUES = 20_000;

const valuesOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const STORAGE_VALUES = Math.max(...[...smallWeights().values()].map(({ shape }) => valuesOf(shape)));

/** All of a small model's tensors, as views of one storage. */
function sharedTensors(): Map<string, Python> {
  return new Map(
    [...smallWeights()].map(([name, { shape }]) => {
      const strides = shape.map((_, axis) => valuesOf(shape.slice(axis + 1)));
      const storage: Python = {
        persistent: { tuple: ['storage', storageType('float32'), '0', 'cpu', STORAGE_VALUES] },
      };
      return [name, rebuild([storage, 0, { tuple: shape }, { tuple: strides }, false, null])];
    }),
  );
}

const smallSafetensors = new Uint8Array(safetensors(smallWeights()));
const headerBytes = Number(new DataView(smallSafetensors.buffer).getBigUint64(0, true));
const tensorData = smallSafetensors.subarray(8 + headerBytes);

function safetensorsWith(header: Uint8Array): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  return concat(length, header, tensorData);
}

/** An archive whose last record is an empty pickle, and where its directory begins. */
const archive = Buffer.from(
  archiveOf(new Uint8Array(), new Map([['0', new Uint8Array(STORAGE_VALUES * 4)]]), { reversed: true }),
);
const DIRECTORY_OFFSET = 16;
const directoryStart = archive.readUInt32LE(archive.length - 22 + DIRECTORY_OFFSET);

/** The archive with this pickle. */
function archiveWith(pickled: Uint8Array): Uint8Array {
  const directory = Buffer.from(archive.subarray(directoryStart));
  const entry = directory.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1'));
  directory.writeUInt32LE(pickled.length, entry + 20);
  directory.writeUInt32LE(pickled.length, entry + 24);
  directory.writeUInt32LE(directoryStart + pickled.length, directory.length - 22 + DIRECTORY_OFFSET);
  return Buffer.concat([archive.subarray(0, directoryStart), pickled, directory]);
}

/** A sound checkpoint in a folder of its own, for the configs beside it. */
function checkpointIn(name: string, bytes: Uint8Array): string {
  const path = join(folder, name, 'model.safetensors');
  mkdirSync(dirname(path));
  writeFileSync(path, bytes);
  return path;
}
const openClipPath = checkpointIn('open-clip', smallSafetensors);
const huggingFacePath = checkpointIn('hugging-face', safetensors(toHuggingFace(smallWeights())));

/** Readers of checkpoints: zip archives and their pickles, safetensors, and the configs beside them. */
export const checkpoints: Target = {
  name: 'checkpoints',
  maxBytes: 8192,

  async seeds() {
    const header = smallSafetensors.subarray(8, 8 + headerBytes);
    const config = {
      model_cfg: {
        embed_dim: 24,
        quick_gelu: true,
        vision_cfg: { image_size: 6, layers: 1, width: 128, patch_size: 2, head_width: 64 },
        text_cfg: { context_length: 7, vocab_size: 11, width: 64, heads: 1, layers: 2 },
      },
      preprocess_cfg: {
        mean: [0.5, 0.5, 0.5],
        std: [0.5, 0.5, 0.5],
        interpolation: 'bicubic',
        resize_mode: 'shortest',
      },
    };
    const few = new Map([...sharedTensors()].slice(0, 3));
    const tiny = new Map([['0', new Uint8Array(8)]]);
    const value: Python = {
      dict: [
        ['a', { list: [1, 70_000, -5, 0.5, 'é', null, true] }],
        ['b', { tuple: [] }],
      ],
    };
    return [
      ...[2, 4].map((protocol) => concat(modes.pickle, pickle(stateDict(sharedTensors()), protocol))),
      ...[2, 3].map((protocol) => concat(modes.pickle, pickle(moduleTree(sharedTensors()), protocol))),
      concat(modes.pickle, pickle(stateDict(few))),
      concat(modes.pickle, pickle(value)),
      concat(modes.safetensors, header),
      concat(
        modes.safetensors,
        '{"__metadata__":{},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}',
      ),
      concat(modes.openClip, JSON.stringify(config)),
      concat(
        modes.huggingFace,
        JSON.stringify({
          vision_config: { hidden_act: 'gelu', num_attention_heads: 2 },
          text_config: { hidden_act: 'gelu', num_attention_heads: 1 },
          image_mean: [0.5, 0.5, 0.5],
          image_std: [0.5, 0.5, 0.5],
        }),
      ),
      concat(modes.file, archiveOf(pickle(stateDict(few)), tiny)),
      concat(
        modes.file,
        archiveOf(pickle(stateDict(few)), tiny, { zip64: true, compressed: true, byteOrder: 'little' }),
      ),
      concat(modes.file, archiveOf(pickle(stateDict(few)), tiny, { comment: 'a comment', reversed: true })),
      concat(modes.file, [40, 0, 0, 0, 0, 0, 0, 0], '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'),
      concat(modes.file, 'version https://git-lfs.github.com/spec/v1'),
    ].map((bytes) => Uint8Array.from(bytes));
  },

  async run(bytes) {
    const rest = bytes.subarray(1);
    switch (String.fromCharCode(bytes[0] ?? 0)) {
      case modes.pickle:
        return await open(made(archiveWith(rest)));
      case modes.safetensors:
        return await open(made(safetensorsWith(rest)));
      case modes.openClip:
        writeFileSync(join(dirname(openClipPath), 'open_clip_config.json'), rest);
        return await open(openClipPath);
      case modes.huggingFace:
        for (const name of ['config.json', 'preprocessor_config.json']) {
          writeFileSync(join(dirname(huggingFacePath), name), rest);
        }
        return await open(huggingFacePath);
      default:
        await open(made(rest));
    }
  },
};

function made(bytes: Uint8Array): string {
  writeFileSync(madePath, bytes);
  return madePath;
}

async function open(path: string): Promise<void> {
  try {
    using checkpoint = await openCheckpoint(path);
    let left = READ_WEIGHTS;
    for (const { shape, read } of checkpoint.weights.values()) {
      const values = valuesOf(shape);
      if (values > READ_VALUES) continue;
      check(read().length === values, `a weight of ${shape.join(' × ')} has other values`);
      if (--left === 0) return;
    }
  } catch (fault) {
    if (!(fault instanceof CheckpointError)) throw fault;
    check(fault.message.length < 5000, `a sentence of ${fault.message.length} characters`);
  }
}
