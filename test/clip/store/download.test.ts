import { describe, expect, spyOn, test } from 'bun:test';
import { mkdir, open, readdir } from 'node:fs/promises';
import { PartFile } from '../../../src/clip/store/download.ts';
import { ModelStoreError } from '../../../src/clip/store/storage-error.ts';
import { expectDelivered, file, MEBI, reasons, run, sha256, sourceOf } from './download-run.ts';
import { fastTimings } from './fast-timings.ts';
import {
  type Behaviour,
  corrupt,
  dropAfter,
  honest,
  ignoreRange,
  page,
  redirect,
  serveFile,
  silent,
  stallAfter,
  tooLong,
} from './file-server.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('a source that behaves', () => {
  test('delivers a checked file and reports every step forward', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    const done = await run(folder.path, [sourceOf(server)]);
    await expectDelivered(folder.path, done);

    expect(done.progress[0]).toEqual({ stage: 'downloading' });
    const steps = done.progress.filter(({ stage }) => stage === 'downloading').slice(1);
    const bytes = steps.map(({ bytesDone }) => bytesDone ?? 0);
    expect(bytes).toEqual(bytes.toSorted((one, other) => one - other));
    expect(steps.at(-1)).toMatchObject({
      bytesDone: file.length,
      bytesTotal: file.length,
      percent: 100,
      secondsLeft: 0,
    });
    expect(done.progress.at(-1)).toMatchObject({ stage: 'verifying', percent: 100 });
  });

  test('is followed through redirects to another host', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, dropAfter(MEBI, folder.path), honest);
    await using front = await serveFile(file, redirect(server.url.replace('127.0.0.1', 'localhost')));
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(front)]));
    expect(server.requests[1]?.range).toMatch(/^bytes=[1-9]\d*-$/);
  });

  test('is asked for the bytes themselves, uncompressed', async () => {
    await using folder = await temporaryFolder();
    let encoding: string | string[] | undefined;
    const note: Behaviour = (content, request, response) => {
      encoding = request.headers['accept-encoding'];
      honest(content, request, response);
    };
    await using server = await serveFile(file, note);
    await run(folder.path, [sourceOf(server)]);
    expect(encoding).toBe('identity');
  });
});

describe('a source that fails', () => {
  test.each([
    ['answers 404', page(404), 'it answers 404'],
    ['answers 403', page(403), 'it answers 403'],
    ['never answers', silent, 'it does not answer within 2 s'],
    ['sends a login page', page(200), 'it sends a web page instead of the file'],
    [
      'offers another size',
      ((_f, _q, r) => r.end('short')) satisfies Behaviour,
      'it offers 5 bytes where 3,145,728 are expected',
    ],
    ['sends too much', tooLong, 'it sends more than the expected 3,145,728 bytes'],
    ['sends a wrong bit', corrupt, 'instead of'],
  ])('and %s is asked once, then the next one delivers', async (_name, behaviour, reason) => {
    await using folder = await temporaryFolder();
    await using bad = await serveFile(file, behaviour);
    await using good = await serveFile(file, honest);
    const done = await run(folder.path, [sourceOf(bad), sourceOf(good)]);
    await expectDelivered(folder.path, done);
    expect(bad.requests).toHaveLength(1);
    expect(done.log.text('warn')).toContain(reason);
  });

  test.each([
    ['refuses connections', 'http://127.0.0.1:1/ViT-B-32.pt', 'ECONNREFUSED'],
    // Too long for a host's name, so that no network is needed.
    ['has no address', `http://${'host'.repeat(16)}.invalid/ViT-B-32.pt`, 'ENOTFOUND'],
  ])('and %s is passed over at once', async (_name, url, reason) => {
    await using folder = await temporaryFolder();
    await using good = await serveFile(file, honest);
    const done = await run(folder.path, [sourceOf(url), sourceOf(good)], {
      // A pause of this length would fail the test by its own time limit.
      timings: { ...fastTimings, backOffMs: 3_600_000, backOffLimitMs: 3_600_000 },
    });
    await expectDelivered(folder.path, done);
    expect(done.log.text('warn')).toContain(reason);
  });

  test('and whose host never answers is not waited for a second time', async () => {
    await using folder = await temporaryFolder();
    await using dead = await serveFile(file, silent);
    await using good = await serveFile(file, honest);
    const elsewhere = sourceOf(`${dead.url}?copy`);
    const done = await run(folder.path, [sourceOf(dead), elsewhere, sourceOf(good)]);
    await expectDelivered(folder.path, done);
    expect(dead.requests).toHaveLength(1);
  });

  test('for a moment with 500 or 429 is asked again', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, page(500), page(429), honest);
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server)]));
    expect(server.requests).toHaveLength(3);
  });

  test('for good is given up after the allowed attempts', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, page(503));
    const done = await run(folder.path, [sourceOf(server)]);
    expect(reasons(done)).toEqual(['it answers 503']);
    expect(server.requests).toHaveLength(3);
  });

  test('by breaking always at the same place is given up', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, ignoreRange(2 * MEBI));
    const done = await run(folder.path, [sourceOf(server)]);
    expect(reasons(done)).toEqual([expect.stringContaining('the connection broke')]);
    expect(server.requests).toHaveLength(3);
  });

  test('is named with its reason, one by one, when none delivers; a corrupt file is not kept', async () => {
    await using folder = await temporaryFolder();
    await using gone = await serveFile(file, page(410));
    await using broken = await serveFile(file, corrupt);
    const { outcome } = await run(folder.path, [sourceOf(gone), sourceOf(broken)]);
    expect(outcome).toEqual([
      { url: gone.url, reason: 'it answers 410' },
      { url: broken.url, reason: expect.stringContaining(`instead of ${sha256}`) },
    ]);
    expect(await readdir(folder.path)).toEqual([]);
  });

  test('never shows the secrets of its address', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, page(404));
    const url = `${server.url.replace('//', '//user:secret@')}?token=secret`;
    const done = await run(folder.path, [sourceOf(url)]);
    expect(JSON.stringify([done.outcome, done.log.lines])).not.toContain('secret');
    expect(done.outcome).toMatchObject([{ url: server.url }]);
  });
});

describe('a file of unknown sum', () => {
  test('is kept where it is a checkpoint', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server, false)]));
  });

  test('is not kept where it is none', async () => {
    await using folder = await temporaryFolder();
    const garbage: Behaviour = (_file, _request, response) => response.end('garbage');
    await using server = await serveFile(file, garbage);
    const inspect = () => Promise.reject(new Error('This is no zip.'));
    const done = await run(folder.path, [sourceOf(server, false)], { inspect });
    expect(reasons(done)).toEqual(['what it sends cannot be used: This is no zip.']);
    expect(await readdir(folder.path)).toEqual([]);
  });
});

describe('the disk', () => {
  test('that is full is named, and no other source is asked', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await using other = await serveFile(file, honest);
    // Writing to this device always fails for want of space.
    using _ = spyOn(PartFile.prototype, 'open').mockImplementation(() => open('/dev/full', 'w'));
    const failure = await run(folder.path, [sourceOf(server), sourceOf(other)]).catch((error) => error);
    expect(failure).toBeInstanceOf(ModelStoreError);
    expect(failure).toMatchObject({ fault: 'storage_full', retryable: true });
    expect(failure.message).toStartWith(`The disk that holds ${folder.path} is full.`);
    expect(other.requests).toHaveLength(0);
  });

  test('that is too small is named before anything is downloaded', async () => {
    await using folder = await temporaryFolder();
    const huge = 2 ** 60;
    const pretend: Behaviour = (_file, _request, response) => {
      response.writeHead(200, { 'Content-Length': huge });
      response.write('x');
    };
    await using server = await serveFile(file, pretend);
    const source = { ...sourceOf(server), bytes: huge };
    const failure = await run(folder.path, [source]).catch((error) => error);
    expect(failure).toBeInstanceOf(ModelStoreError);
    expect(failure).toMatchObject({ fault: 'storage_full', retryable: true });
    expect(failure.message).toStartWith(
      `The disk that holds ${folder.path} is full: 1,152,921,504,607 MB more`,
    );
  });

  test('that cannot be written is named', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await mkdir(new PartFile(folder.path, sourceOf(server)).path);
    const failure = await run(folder.path, [sourceOf(server)]).catch((error) => error);
    expect(failure).toMatchObject({ fault: 'storage_failed' });
    expect(failure.message).toContain(folder.path);
  });
});

test('stops at once when told to, and leaves the part for the next time', async () => {
  await using folder = await temporaryFolder();
  await using server = await serveFile(file, stallAfter(MEBI), honest);
  const controller = new AbortController();
  const timings = { ...fastTimings, stallTimeoutMs: 3_600_000 };
  const running = run(folder.path, [sourceOf(server)], { signal: controller.signal, timings });
  const part = new PartFile(folder.path, sourceOf(server));
  while ((await part.bytes()) < MEBI) await Bun.sleep(5);
  controller.abort(new Error('shutting down'));
  await expect(running).rejects.toThrow('shutting down');
  expect(await part.bytes()).toBe(MEBI);
  await expectDelivered(folder.path, await run(folder.path, [sourceOf(server)]));
  expect(server.requests[1]?.range).toBe(`bytes=${MEBI}-`);
});
