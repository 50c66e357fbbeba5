import { expect } from 'bun:test';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SpoolOptions } from '../../../src/http/spool.ts';
import { createFakeEngine, type FakeBehaviour, type FakeEngine } from '../fake-engine.ts';
import {
  categoriesPart,
  closing,
  part,
  postRaw,
  requestHead,
  type StartOptions,
  start,
  type TestServer,
  untilIdle,
} from '../harness.ts';

/** A server with a fake engine and a temporary folder of its own. */
export interface VideoServer extends TestServer, FakeEngine {
  readonly folder: string;
  /** What lies in the temporary folder. */
  left(): Promise<string[]>;
}

interface VideoOptions extends Omit<StartOptions, 'engine'> {
  readonly spool?: SpoolOptions;
}

export async function startVideos(
  behaviour: FakeBehaviour = {},
  { environment = {}, tuning = {}, spool = {} }: VideoOptions = {},
): Promise<VideoServer> {
  const folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  const engine = createFakeEngine(behaviour);
  const server = start({
    environment,
    engine: { state: 'ready', classifier: engine.classifier },
    tuning: { spool: { directory: folder, ...spool }, ...tuning },
  });
  return {
    ...server,
    ...engine,
    folder,
    left: () => readdir(folder),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export const videoPart = (content: string | Uint8Array, name = 'film.mp4') =>
  part(`form-data; name="video"; filename="${name}"`, content);

/** A form with a video that shows a cat, a dog and a bird. */
export const film = 'cat@1.5 dog@3 bird@4.25';
export const videoBody = (text = film, categories = 'dog,cat', name?: string) =>
  Buffer.concat([videoPart(text, name), categoriesPart(categories), closing]);

/** What `film` answers to dog and cat, without pictures. */
export const filmAnswer = '{"dog":["film-3.000.jpg"],"cat":["film-1.500.jpg"]}';

export const videoHead = (length: number, accept = 'application/json', query = '') =>
  requestHead(`/video${query}`, length).replace('Host:', `Accept: ${accept}\r\nHost:`);

/** One video may wait for its turn. */
export const oneByOne = { videoAdmission: { waiting: 1, waitingAtMost: 1, waitMs: 60_000 } };

/** Nothing lies on the disk, nothing is held for anybody, a request is answered, and nothing was a bug. */
export async function expectSound(server: VideoServer): Promise<void> {
  while ((await server.left()).length > 0) await Bun.sleep(1);
  await untilIdle(server);
  const response = await postRaw(server, '/video?images=false', videoBody());
  expect(await response.text()).toBe(filmAnswer);
  expect(await server.left()).toEqual([]);
  expect(server.lines.filter(({ level }) => level === 'error')).toEqual([]);
}
