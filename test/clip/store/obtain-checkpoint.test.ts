import { describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { ManifestModel } from '../../../models/manifest.ts';
import { obtainCheckpoint } from '../../../src/clip/store/download.ts';
import type { LoadingProgress } from '../../../src/clip/store/progress-display.ts';
import type { StoreTimings } from '../../../src/clip/store/store-context.ts';
import { type StoreOptions, type StoreWork, storeContext } from '../../../src/clip/store/store-context.ts';
import { fastTimings } from './fast-timings.ts';
import { honest, page, serveFile, slowly, stallAfter } from './file-server.ts';
import { type RecordingLog, recordingLog } from './recording-log.ts';
import type { StoreTask } from './store-process.ts';
import { temporaryFolder } from './temporary-folder.ts';

const MEBI = 2 ** 20;
const file = new Uint8Array(2 * MEBI).map((_, index) => (index * 2654435761) >>> 24);
const sha256 = createHash('sha256').update(file).digest('hex');

interface ProcessSetting {
  readonly environment?: Readonly<Record<string, string>>;
  readonly timings?: StoreTimings;
}

/** A model that is downloaded from these addresses. */
function modelFrom(...urls: string[]): ManifestModel {
  return {
    name: 'ViT-B/32',
    activation: 'quick_gelu',
    fileNames: ['ViT-B-32.pt', 'model.pt', 'model.safetensors'],
    sources: urls.map((url) => ({
      url,
      bytes: file.length,
      sha256,
      layout: 'torchscript',
      fileName: 'ViT-B-32.pt',
    })),
  };
}

interface Setting {
  readonly cache?: string;
  readonly url?: string;
  readonly usual?: readonly string[];
}

function workOf({ cache, url, usual = [] }: Setting): StoreWork & { readonly log: RecordingLog } {
  const options = {
    model: { name: 'ViT-B/32', cacheDirectory: cache, url, precision: 'auto', demoFallback: false },
    log: recordingLog(),
    usualDirectories: usual,
    terminal: null,
    timings: fastTimings,
  } satisfies StoreOptions;
  return {
    ...storeContext(options),
    log: options.log,
    report: () => {},
    signal: new AbortController().signal,
  };
}

describe('a checkpoint', () => {
  test('that is there is used, and never downloaded over', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    const path = join(folder.path, 'model.safetensors');
    await writeFile(path, 'whatever');
    const work = workOf({ cache: folder.path });
    expect(await obtainCheckpoint(modelFrom(server.url), work)).toBe(path);
    expect(server.requests).toHaveLength(0);
  });

  test('that is not there is downloaded into CLIP_CACHE, which is made', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    const cache = join(folder.path, 'deep', 'cache');
    const steps: LoadingProgress[] = [];
    const work = workOf({ cache, usual: [folder.path] });
    const path = await obtainCheckpoint(modelFrom(server.url), {
      ...work,
      report: (step) => steps.push(step),
    });
    expect(path).toBe(join(cache, 'ViT-B-32.pt'));
    expect((await readFile(path)).equals(file)).toBe(true);
    expect(await readdir(cache)).toEqual(['ViT-B-32.pt']);
    expect(new Set(steps.map(({ stage }) => stage))).toEqual(new Set(['downloading', 'verifying']));
  });

  test('is not written where links lead that have the names of its unfinished file', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    const victim = join(folder.path, 'victim');
    await writeFile(victim, 'theirs');
    const cache = join(folder.path, 'cache');
    await mkdir(cache);
    const part = join(cache, `ViT-B-32.pt.${sha256.slice(0, 12)}.part`);
    for (const name of [part, `${part}.json`]) await symlink(victim, name);
    const path = await obtainCheckpoint(modelFrom(server.url), workOf({ cache }));
    expect((await readFile(path)).equals(file)).toBe(true);
    expect((await lstat(path)).isFile()).toBe(true);
    expect(await readFile(victim, 'utf8')).toBe('theirs');
    expect(await readdir(cache)).toEqual(['ViT-B-32.pt']);
  });

  test('goes into the first of the usual folders that can be written', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await writeFile(join(folder.path, 'blocked'), '');
    const usual = ['blocked/clip', 'home/clip', 'work/clip'].map((name) => join(folder.path, name));
    const path = await obtainCheckpoint(modelFrom(server.url), workOf({ usual }));
    expect(path).toBe(join(folder.path, 'home/clip/ViT-B-32.pt'));
  });

  test('comes from the next source where the first is dead', async () => {
    await using folder = await temporaryFolder();
    await using gone = await serveFile(file, page(404));
    await using mirror = await serveFile(file, honest);
    const work = workOf({ cache: folder.path });
    await obtainCheckpoint(modelFrom(gone.url, mirror.url), work);
    expect(work.log.text('warn')).toContain('it answers 404');
  });

  test("comes from the operator's address alone where there is one, if it is a checkpoint", async () => {
    await using folder = await temporaryFolder();
    await using official = await serveFile(file, honest);
    await using own = await serveFile(file, honest);
    const work = workOf({ cache: folder.path, url: own.url });
    // These bytes are no checkpoint, and their sum is not asked for.
    const failure = await obtainCheckpoint(modelFrom(official.url), work).catch((e) => e);
    expect(failure).toMatchObject({ fault: 'download_failed' });
    expect(work.log.text('warn')).toContain('what it sends cannot be used');
    expect(own.requests).toHaveLength(1);
    expect(official.requests).toHaveLength(0);
    expect(await readdir(folder.path)).toEqual([]);
  });
});

describe('a checkpoint that is not available', () => {
  test('is asked for in one sentence, while the log has the reason of each source', async () => {
    await using folder = await temporaryFolder();
    await using gone = await serveFile(file, page(404));
    const refused = 'http://127.0.0.1:1/ViT-B-32.pt';
    const model = modelFrom(gone.url, refused);
    const reported = {
      ...model,
      sources: model.sources.map((s, index) => ({ ...s, reportedGone: index === 0 })),
    };
    const work = workOf({ cache: folder.path });
    const failure = await obtainCheckpoint(reported, work).catch((error) => error);
    expect(failure).toMatchObject({ name: 'ModelStoreError', fault: 'download_failed', retryable: true });
    expect(failure.message).toBe(
      `ViT-B/32 was not found and cannot be downloaded from here. Download ${refused} elsewhere and put it here as ` +
        `${join(folder.path, 'ViT-B-32.pt')}: a waiting service then loads it without a restart. To try the API without it, set CLIP_MODEL=demo.`,
    );
    expect(work.log.text('warn')).toContain(`"url":"${gone.url}","reason":"it answers 404"`);
    expect(work.log.text('warn')).toContain(
      `"url":"${refused}","reason":"it cannot be reached (ECONNREFUSED)"`,
    );
  });

  const loginPage = page(200, { 'content-type': 'text/html; charset=utf-8' });
  test.each([
    ['answers 404', page(404), 'it answers 404'],
    ['sends a login page', loginPage, 'it sends a web page instead of the file'],
    ['sends something else', honest, 'what it sends cannot be used: '],
  ])('because CLIP_MODEL_URL %s names the setting, the address and the reason', async (_, answer, reason) => {
    await using folder = await temporaryFolder();
    await using own = await serveFile(file, answer);
    const work = workOf({ cache: folder.path, url: `${own.url}?token=secret` });
    const failure = await obtainCheckpoint(modelFrom(), work).catch((error) => error);
    expect(failure).toMatchObject({ name: 'ModelStoreError', fault: 'download_failed', retryable: true });
    const { message } = failure as Error;
    expect(message).toStartWith(
      `ViT-B/32 cannot be downloaded from CLIP_MODEL_URL, which is ${own.url}: ${reason}`,
    );
    expect(message).toContain('. Correct the address, or unset it');
    expect(message).not.toContain('..');
    expect(message).not.toContain('elsewhere');
    expect(message).not.toContain('secret');
  });

  test('because CLIP_CACHE cannot be written names the folder', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'file'), '');
    const cache = join(folder.path, 'file', 'cache');
    const failure = await obtainCheckpoint(modelFrom(), workOf({ cache })).catch((e) => e);
    expect(failure).toMatchObject({ fault: 'storage_failed', retryable: true });
    expect(failure.message).toContain(`The folder ${cache} cannot be written`);
  });

  test('because no folder can be written names them all, and what to put where', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'file'), '');
    const usual = [join(folder.path, 'file/a'), join(folder.path, 'file/b')];
    const model = modelFrom('http://host/ViT-B-32.pt');
    const failure = await obtainCheckpoint(model, workOf({ usual })).catch((e) => e);
    expect(failure).toMatchObject({ fault: 'storage_failed' });
    for (const part of [...usual, 'http://host/ViT-B-32.pt', 'CLIP_CACHE'])
      expect(failure.message).toContain(part);
  });
});

describe('several processes', () => {
  /** A process that looks for the checkpoint, as two services with one volume would. */
  function start(
    model: ManifestModel,
    cacheDirectory: string,
    { environment = {}, timings = fastTimings }: ProcessSetting = {},
  ) {
    const task: StoreTask = { model, cacheDirectory, timings };
    return Bun.spawn([process.execPath, join(import.meta.dir, 'store-process.ts'), JSON.stringify(task)], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
      stdout: 'pipe',
      stderr: 'pipe',
    });
  }

  async function outcome(child: ReturnType<typeof start>): Promise<string> {
    const [path, log] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return path === '' ? log : path.trim();
  }

  test('that start at once download once', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, slowly(500));
    // A process that has to wait for its turn must not lose its lock over it.
    const timings = { ...fastTimings, lockStaleMs: 60_000 };
    const children = [1, 2, 3].map(() => start(modelFrom(server.url), folder.path, { timings }));
    const path = join(folder.path, 'ViT-B-32.pt');
    expect(await Promise.all(children.map(outcome))).toEqual([path, path, path]);
    expect(server.requests).toHaveLength(1);
    expect(await readdir(folder.path)).toEqual(['ViT-B-32.pt']);
  });

  test('of which one is killed while it downloads: the next start continues where it stopped', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, stallAfter(MEBI), honest);
    const killed = start(modelFrom(server.url), folder.path);
    await partOf(folder.path, MEBI);
    killed.kill('SIGKILL');
    await killed.exited;
    expect(await outcome(start(modelFrom(server.url), folder.path))).toBe(join(folder.path, 'ViT-B-32.pt'));
    expect(server.requests.map(({ range }) => range)).toEqual([undefined, `bytes=${MEBI}-`]);
    expect(await readdir(folder.path)).toEqual(['ViT-B-32.pt']);
  });

  test('of which the downloading one is killed: the waiting one takes over', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, stallAfter(MEBI), honest);
    const killed = start(modelFrom(server.url), folder.path);
    await partOf(folder.path, MEBI);
    const waiting = start(modelFrom(server.url), folder.path);
    killed.kill('SIGKILL');
    expect(await outcome(waiting)).toBe(join(folder.path, 'ViT-B-32.pt'));
    expect(server.requests[1]?.range).toBe(`bytes=${MEBI}-`);
  });

  test('behind a proxy go through it, unless no_proxy says otherwise', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await using proxy = await startProxy(server.url);
    const model = modelFrom('http://models.invalid/ViT-B-32.pt');
    const environment = { http_proxy: proxy.url };
    const path = join(folder.path, 'ViT-B-32.pt');
    expect(await outcome(start(model, folder.path, { environment }))).toBe(path);
    expect(proxy.asked).toEqual(['http://models.invalid/ViT-B-32.pt']);

    await mkdir(join(folder.path, 'other'));
    const direct = start(modelFrom(server.url), join(folder.path, 'other'), {
      environment: { ...environment, no_proxy: '127.0.0.1' },
    });
    expect(await outcome(direct)).toBe(join(folder.path, 'other', 'ViT-B-32.pt'));
    expect(proxy.asked).toHaveLength(1);
  });
});

/** Waits until an unfinished download has this many bytes. */
async function partOf(directory: string, bytes: number): Promise<void> {
  for (;;) {
    const part = (await readdir(directory)).find((name) => name.endsWith('.part'));
    if (part !== undefined && Bun.file(join(directory, part)).size >= bytes) return;
    await Bun.sleep(10);
  }
}

/** A proxy that knows one server behind every name. */
async function startProxy(upstream: string) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const forwarded = httpRequest(upstream, { headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    forwarded.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
