import { afterAll, beforeAll } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Service, startService } from './service.ts';

/** What the tests of one file share. */
export interface DemoService {
  readonly service: Service;
  /** For what the tests write; `cache` in it belongs to the service. */
  readonly folder: string;
}

/**
 * Starts the real service with the demo model before the tests of a file, and ends it after them.
 * @param environment more settings
 */
export function useDemoService(environment: Readonly<Record<string, string>> = {}): DemoService {
  let folder: string | undefined;
  let service: Service | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
    service = await startService({ CLIP_MODEL: 'demo', CLIP_CACHE: join(folder, 'cache'), ...environment });
    await service.ready();
  });
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  return {
    get service() {
      if (!service) throw new Error('the service has not started');
      return service;
    },
    get folder() {
      if (folder === undefined) throw new Error('the service has not started');
      return folder;
    },
  };
}
