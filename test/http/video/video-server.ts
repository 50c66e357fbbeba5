import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SpoolOptions } from '../../../src/http/video/spool.ts';
import { createFakeEngine, type FakeBehaviour, type FakeEngine } from '../fake-engine.ts';
import { categoriesPart, closing, part, type StartOptions, start, type TestServer } from '../harness.ts';

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
