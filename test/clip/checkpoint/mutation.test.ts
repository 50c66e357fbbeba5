import { expect, test } from 'bun:test';
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { CheckpointError } from '../../../src/clip/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import { moduleTree, smallWeights, stateDict, torchArchive } from './checkpoint-maker.ts';
import { toHuggingFace } from './hugging-face-maker.ts';
import { safetensors } from './safetensors-writer.ts';
import { TemporaryFolder } from './temporary-folder.ts';

type Random = (limit: number) => number;

/** mulberry32: the same numbers in every run. */
function seeded(seed: number): Random {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

/** Bytes that mean something in pickles and in lengths. */
const poison = [
  0, 1, 0x7f, 0x80, 0xff, 0x28, 0x2e, 0x30, 0x52, 0x62, 0x63, 0x68, 0x71, 0x74, 0x75, 0x81, 0x8b, 0x95,
];

/** The parts of a file that are not weights: those are not ours to judge. */
interface Region {
  readonly start: number;
  readonly end: number;
}

function mutate(bytes: Buffer, region: Region, random: Random): void {
  const at = region.start + random(region.end - region.start);
  const span = Math.min(1 + random(8), region.end - at);
  switch (random(5)) {
    case 0:
      bytes[at] = random(256);
      return;
    case 1:
      bytes[at]! ^= 1 << random(8);
      return;
    case 2:
      bytes[at] = poison[random(poison.length)]!;
      return;
    case 3:
      bytes.fill(random(2) === 0 ? 0xff : 0, at, at + span);
      return;
    default:
      // Something of the file itself, in another place.
      bytes.copy(bytes, at, region.start + random(region.end - region.start), region.end);
  }
}

/** Opens and reads everything: anything but a CheckpointError fails the test. */
async function survives(path: string): Promise<'sound' | 'refused'> {
  try {
    using checkpoint = await openCheckpoint(path);
    for (const weight of checkpoint.weights.values()) {
      expect(weight.read().length).toBe(weight.shape.reduce((count, size) => count * size, 1));
    }
    return 'sound';
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    return 'refused';
  }
}

test.each([
  ['TorchScript', torchArchive(smallWeights(), moduleTree, { zip64: true }), 'archive/data.pkl'],
  ['a state_dict', torchArchive(smallWeights(), stateDict, { protocol: 4 }), 'archive/data.pkl'],
])('a mutated archive of %s is refused or sound', async (_, original, pickleName) => {
  using folder = new TemporaryFolder();
  const whole = Buffer.from(original);
  const pickleStart = whole.indexOf(pickleName) + pickleName.length;
  const regions: Region[] = [
    { start: 0, end: pickleStart },
    { start: pickleStart, end: whole.indexOf('archive/data/0') - 30 },
    { start: whole.indexOf(Buffer.from('PK\x01\x02', 'latin1')), end: whole.length },
  ];
  const random = seeded(20210301);
  const outcomes = { sound: 0, refused: 0 };
  for (let round = 0; round < 600; round++) {
    const bytes = Buffer.from(whole);
    for (let changes = random(3); changes >= 0; changes--)
      mutate(bytes, regions[round % regions.length]!, random);
    outcomes[await survives(folder.write('mutated.pt', bytes))]++;
  }
  expect(outcomes.refused).toBeGreaterThan(100);
  expect(outcomes.sound).toBeGreaterThan(10);
});

test('a mutated safetensors header is refused or sound', async () => {
  using folder = new TemporaryFolder();
  const whole = Buffer.from(safetensors(toHuggingFace(smallWeights())));
  const region = { start: 0, end: 8 + Number(whole.readBigUint64LE(0)) };
  const random = seeded(5);
  const outcomes = { sound: 0, refused: 0 };
  for (let round = 0; round < 400; round++) {
    const bytes = Buffer.from(whole);
    mutate(bytes, round % 4 === 0 ? { start: 0, end: 8 } : region, random);
    outcomes[await survives(folder.write('model.safetensors', bytes))]++;
  }
  expect(outcomes.refused).toBeGreaterThan(100);
  expect(outcomes.sound).toBeGreaterThan(10);
});

test('the golden checkpoint with a mutated pickle or zip directory is refused or sound', async () => {
  using folder = new TemporaryFolder();
  const golden = readFileSync(join(import.meta.dir, '../../golden/clip-tiny.pt.gz'));
  const whole = Buffer.from(gunzipSync(golden));
  const path = folder.write('clip-tiny.pt', whole);
  const start = whole.indexOf('clip-tiny/data.pkl');
  const region = { start, end: whole.length };
  const random = seeded(1);
  for (let round = 0; round < 150; round++) {
    const tail = Buffer.from(whole);
    mutate(tail, region, random);
    const file = openSync(path, 'r+');
    writeSync(file, tail, start, whole.length - start, start);
    closeSync(file);
    await survives(path);
  }
});

test('the golden checkpoints cut at any of many places are refused', async () => {
  using folder = new TemporaryFolder();
  for (const name of ['clip-tiny.pt', 'clip-tiny.safetensors']) {
    const whole = gunzipSync(readFileSync(join(import.meta.dir, `../../golden/${name}.gz`)));
    const path = folder.write(name, whole);
    const random = seeded(7);
    const lengths = Array.from({ length: 150 }, () => random(whole.length));
    const edges = [1, 2, 21, 22, 23, 42, 98, 1000, 20_000].map((bytes) => whole.length - bytes);
    for (const length of [...lengths, ...edges, 0, 3, 4, 8, 9].sort((a, b) => b - a)) {
      truncateSync(path, length);
      expect(await survives(path), `${name} of ${length} bytes`).toBe('refused');
    }
  }
});
