import { describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { PartFile } from '../../../src/clip/store/download.ts';
import type { DownloadSource } from '../../../src/clip/store/search.ts';
import { expectDelivered, file, MEBI, run, sourceOf } from './download-run.ts';
import { fastTimings } from './fast-timings.ts';
import {
  type Behaviour,
  dropAfter,
  etag,
  honest,
  ignoreRange,
  page,
  serveFile,
  stallAfter,
  truncateTo,
} from './file-server.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('an interrupted transfer', () => {
  test('continues where the connection broke', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, dropAfter(MEBI, folder.path), honest);
    const done = await run(folder.path, [sourceOf(server)]);
    await expectDelivered(folder.path, done);
    expect(server.requests).toHaveLength(2);
    expect(server.requests[1]).toMatchObject({ range: `bytes=${MEBI}-`, ifRange: etag });
    expect(done.log.text('warn')).toContain('the connection broke');
  });

  test('is cut when the source falls silent, and continues', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, stallAfter(MEBI), honest);
    const done = await run(folder.path, [sourceOf(server)]);
    await expectDelivered(folder.path, done);
    expect(server.requests[1]?.range).toBe(`bytes=${MEBI}-`);
    expect(done.log.text('warn')).toContain('it sends nothing for 1.5 s');
  });

  test('continues after an answer that ends too early without an error', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, truncateTo(2 * MEBI), honest);
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server)]));
    expect(server.requests[1]?.range).toBe(`bytes=${2 * MEBI}-`);
  });

  test('starts again if the server ignores ranges', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, ignoreRange(MEBI), ignoreRange());
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server)]));
  });

  test('starts again if the file has changed', async () => {
    await using folder = await temporaryFolder();
    const old: Behaviour = (content, request, response) => {
      response.writeHead(200, { ETag: '"zero"', 'Content-Length': content.length });
      response.write(new Uint8Array(MEBI), () => setTimeout(() => request.socket.destroy(), 20));
    };
    await using server = await serveFile(file, old, honest);
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server)]));
    expect(server.requests[1]?.ifRange).toBe('"zero"');
  });

  test('starts again if its bytes are of two files', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await writeFile(new PartFile(folder.path, sourceOf(server)).path, new Uint8Array(MEBI));
    const done = await run(folder.path, [sourceOf(server)]);
    await expectDelivered(folder.path, done);
    expect(server.requests.map(({ range }) => range)).toEqual([`bytes=${MEBI}-`, undefined]);
    expect(done.log.text('warn')).toContain('sha256');
  });

  test('is taken up by a mirror of the same file', async () => {
    await using folder = await temporaryFolder();
    await using first = await serveFile(file, dropAfter(MEBI, folder.path), page(404));
    await using mirror = await serveFile(file, honest);
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(first), sourceOf(mirror)]));
    // Another host's ETag means nothing here.
    expect(mirror.requests).toEqual([{ path: '/ViT-B-32.pt', range: `bytes=${MEBI}-`, ifRange: undefined }]);
  });

  test('needs no request at all where only the last rename was missing', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await writeFile(new PartFile(folder.path, sourceOf(server)).path, file);
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server)]));
    expect(server.requests).toHaveLength(0);
  });

  test('of unknown sum continues if the validator shows the same file', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, dropAfter(MEBI, folder.path), honest);
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server, false)]));
    expect(server.requests[1]).toMatchObject({ range: `bytes=${MEBI}-`, ifRange: etag });
  });

  test('of unknown sum continues in the next attempt to prepare the model', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, dropAfter(MEBI, folder.path), honest);
    const source = sourceOf(server, false);
    const failed = await run(folder.path, [source], { timings: { ...fastTimings, attempts: 1 } });
    expect(failed.outcome).toMatchObject([{ reason: expect.stringContaining('the connection broke') }]);
    await expectDelivered(folder.path, await run(folder.path, [source]));
    expect(server.requests[1]).toMatchObject({ range: `bytes=${MEBI}-`, ifRange: etag });
  });

  test('that is longer than the file starts again', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    await writeFile(new PartFile(folder.path, sourceOf(server)).path, new Uint8Array(file.length + 1));
    await expectDelivered(folder.path, await run(folder.path, [sourceOf(server)]));
    expect(server.requests[0]?.range).toBeUndefined();
  });

  test('of unknown sum from an earlier process is never continued', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(file, honest);
    const source = sourceOf(server, false);
    await writeFile(new PartFile(folder.path, source).path, new Uint8Array(MEBI));
    await expectDelivered(folder.path, await run(folder.path, [source]));
    expect(server.requests[0]?.range).toBeUndefined();
  });

  test('is tried again while it gets further, however often it breaks', async () => {
    await using folder = await temporaryFolder();
    const larger = new Uint8Array(6 * MEBI).fill(7);
    await using server = await serveFile(larger, dropAfter(MEBI, folder.path));
    const source: DownloadSource = {
      url: server.url,
      fileName: 'model.pt',
      bytes: larger.length,
      sha256: createHash('sha256').update(larger).digest('hex'),
    };
    const { outcome } = await run(folder.path, [source], { timings: { ...fastTimings, attempts: 2 } });
    expect(outcome).toMatchObject({ sha256: source.sha256 });
    expect(server.requests).toHaveLength(6);
  });
});
