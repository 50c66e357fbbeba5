import { describe, expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  archiveOf,
  type MadeTensor,
  moduleTree,
  smallWeights,
  stateDict,
  torchArchive,
} from './checkpoint-maker.ts';
import { pickle } from './pickle-writer.ts';
import { refusal, refusalOf } from './refusal.ts';
import { TemporaryFolder } from './temporary-folder.ts';
import { writeZip } from './zip-writer.ts';

const weights = smallWeights();

const changed = (name: string, change: Partial<MadeTensor> | undefined) => {
  const result = new Map(weights);
  if (change === undefined) result.delete(name);
  else result.set(name, { ...result.get(name)!, ...change });
  return result;
};

describe('files that are no checkpoint', () => {
  test('a path without a file, and a folder', async () => {
    using folder = new TemporaryFolder();
    expect(await refusal(join(folder.path, 'nothing'))).toContain('it cannot be opened (ENOENT)');
    mkdirSync(join(folder.path, 'folder'));
    expect(await refusal(join(folder.path, 'folder'))).toContain('it is not a regular file');
  });

  test.each<[string, Uint8Array | string, string]>([
    ['an empty file', '', 'the file is empty'],
    ['a web page', '\n<!DOCTYPE html><html></html>', 'a web page'],
    ['an answer in JSON', '{"error":{"code":404}}', 'a JSON document'],
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'a Git LFS pointer'],
    ['a JPEG', Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46), 'a picture'],
    ['a PNG', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10), 'a picture'],
    ['a gzipped file', gzipSync('weights'), 'compressed with gzip'],
    [
      'bytes at random',
      Uint8Array.from({ length: 5000 }, (_, i) => (i * 167 + 13) % 251),
      "not a checkpoint; PyTorch's zip files",
    ],
    ['one byte', 'x', "not a checkpoint; PyTorch's zip files"],
  ])('%s', async (_, bytes, sentence) => {
    expect(await refusalOf(bytes)).toContain(sentence);
  });

  test("PyTorch's format from before 1.6, with how to save it again", async () => {
    const magicNumber = Buffer.from('80028a0a6cfc9c46f9206aa850192e8002', 'hex');
    expect(await refusalOf(magicNumber)).toContain(
      'before version 1.6; save it again with a current PyTorch: torch.save(',
    );
    const tar = new Uint8Array(1024);
    tar.set(new TextEncoder().encode('ustar'), 257);
    expect(await refusalOf(tar)).toContain('before version 1.6');
  });

  test('a zip archive of something else', async () => {
    expect(await refusalOf(writeZip([{ name: 'readme', bytes: new Uint8Array(3) }]))).toContain(
      'without data.pkl',
    );
  });

  test('an archive of two models', async () => {
    const record = { bytes: pickle(null) };
    const archive = writeZip([
      { name: 'a/data.pkl', ...record },
      { name: 'b/data.pkl', ...record },
    ]);
    expect(await refusalOf(archive)).toContain('several models, among them "a/" and "b/"');
  });

  test('a pickle of something else', async () => {
    expect(await refusalOf(archiveOf(pickle({ list: [1] }), new Map()))).toContain(
      'neither a TorchScript module nor',
    );
  });
});

describe('models that are no CLIP with a vision transformer', () => {
  test('a CLIP with a ResNet', async () => {
    const resnet = new Map(weights);
    resnet.set('visual.layer1.0.conv1.weight', { shape: [2, 1, 1, 1], values: [1, 2] });
    expect(await refusalOf(torchArchive(resnet, moduleTree))).toContain('it is a CLIP with a ResNet');
  });

  test('another network', async () => {
    const other = new Map<string, MadeTensor>([['fc.weight', { shape: [1, 2], values: [1, 2] }]]);
    expect(await refusalOf(torchArchive(other, stateDict))).toContain(
      '1 tensors ("fc.weight", …), but none of token_embedding.weight, text_model.',
    );
  });

  test("an OpenCLIP model with one of timm's vision towers", async () => {
    const siglip = new Map<string, MadeTensor>([
      ['visual.trunk.patch_embed.proj.weight', { shape: [1, 2], values: [1, 2] }],
      ['text.token_embedding.weight', { shape: [1, 2], values: [1, 2] }],
    ]);
    expect(await refusalOf(torchArchive(siglip, stateDict))).toContain("vision tower is one of timm's");
  });

  test('weights that are missing, by name', async () => {
    const name = 'transformer.resblocks.1.mlp.c_fc.bias';
    expect(await refusalOf(torchArchive(changed(name, undefined), stateDict))).toBe(
      `its weights are not those of a CLIP: ${name} is missing.`,
    );
    expect(await refusalOf(torchArchive(changed('text_projection', undefined), stateDict))).toContain(
      'text_projection is missing',
    );
  });

  test('weights of another shape, by name', async () => {
    const archive = torchArchive(changed('visual.proj', { shape: [24, 128] }), stateDict);
    expect(await refusalOf(archive)).toContain('visual.proj is [24,128] instead of [128,24]');
  });

  test('more faults than fit a sentence', async () => {
    const layer = [...weights].filter(([name]) => !/resblocks\.0\.(attn|mlp)/.test(name));
    expect(await refusalOf(torchArchive(new Map(layer), stateDict))).toEndWith('is missing; and 8 more.');
  });

  test('a grid of patches that is not a square', async () => {
    const archive = torchArchive(
      changed('visual.positional_embedding', { shape: [12, 128], values: new Array(12 * 128).fill(0) }),
      stateDict,
    );
    expect(await refusalOf(archive)).toContain('visual.positional_embedding is [12,128] instead of [10,128]');
  });

  test('a decisive weight of the wrong kind', async () => {
    const archive = torchArchive(changed('visual.conv1.weight', { shape: [128, 12] }), stateDict);
    expect(await refusalOf(archive)).toContain(
      'its visual.conv1.weight has shape [128,12] instead of 4 sizes above 0',
    );
    const empty = torchArchive(changed('token_embedding.weight', { shape: [0, 64], values: [] }), stateDict);
    expect(await refusalOf(empty)).toContain('its token_embedding.weight has shape [0,64]');
  });

  test('towers without layers', async () => {
    const bare = new Map([...weights].filter(([name]) => !name.includes('resblocks')));
    expect(await refusalOf(torchArchive(bare, stateDict))).toContain('0 vision layers over a 3×3 grid');
  });

  test('a width that makes no head', async () => {
    const archive = torchArchive(
      changed('ln_final.weight', { shape: [32], values: new Array(32).fill(1) }),
      stateDict,
    );
    expect(await refusalOf(archive)).toContain('its text width of 32 channels cannot be shared among 0');
  });
});

test.each(['big', 'middle'])('the byte order "%s" is refused', async (byteOrder) => {
  expect(await refusalOf(torchArchive(weights, stateDict, { byteOrder }))).toContain(
    `its byte order is "${byteOrder}"; only "little" is supported`,
  );
});
