import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdir, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startService } from '../service/service.ts';
import { goodAnswer, temporaryFolder } from './target.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let answer: string;

/** Starts the service on the folder, asks, and stops it. */
async function startAndAsk() {
  await using service = await startService({ CLIP_MODEL: 'demo', CLIP_CACHE: folder.path });
  await service.ready();
  return { answer: await goodAnswer(service.url), log: service.log };
}

beforeAll(async () => {
  folder = await temporaryFolder();
  ({ answer } = await startAndAsk());
});
afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

const damages: readonly (readonly [what: string, file: string, damage: (path: string) => Promise<void>])[] = [
  ['a weight file cut short', 'vision.weights', (path) => truncate(path, 5000)],
  ['a missing file', 'text.weights', (path) => rm(path)],
  [
    'a folder in the place of a file',
    'vision.onnx',
    async (path) => {
      await rm(path);
      await mkdir(path);
    },
  ],
  ['a description that says nothing', 'model.json', (path) => writeFile(path, '{}')],
];

describe('a compiled model damaged between two starts', () => {
  test.each(damages)(
    '%s: it is compiled anew, and the answers keep their digits',
    async (_, file, damage) => {
      const compiled = join(folder.path, 'compiled');
      const [model] = (await readdir(compiled)).filter((name) => !name.endsWith('.json'));
      await damage(join(compiled, model as string, file));
      const again = await startAndAsk();
      expect(again.answer).toBe(answer);
      const warnings = again.log.filter(({ level }) => level === 'warn').map(({ msg }) => msg);
      expect(warnings).toContain('the compiled model cannot be used and is compiled anew');
    },
  );
});
