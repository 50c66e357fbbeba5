import { describe, expect, test } from 'bun:test';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startService } from '../service/service.ts';
import { post } from './exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from './form.ts';
import { goodAnswer, temporaryFolder } from './target.ts';

const FILLER = 'filler';

/**
 * Runs a command with a file system of its own in `folder`, of which nothing else sees anything.
 * @param freeMebibytes what is left beside a file named `filler`
 */
function withSmallDisk(folder: string, freeMebibytes: number): readonly string[] {
  const script = [
    `mount -t tmpfs -o size=${freeMebibytes + 64}m tmpfs "$0"`,
    `head -c 64M /dev/zero > "$0/${FILLER}"`,
    'exec "$@"',
  ].join(' && ');
  return ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', script, folder];
}

/** The small disk as seen by the process. */
const seenBy = (pid: number, folder: string) => join(`/proc/${pid}/root`, folder);

const canMount = await (async () => {
  await using folder = await temporaryFolder();
  try {
    return Bun.spawnSync([...withSmallDisk(folder.path, 1), 'true']).success;
  } catch {
    return false;
  }
})();

describe.if(canMount)('a full disk', () => {
  test('under the cache folder: the model goes to the temporary one, and answers', async () => {
    await using folder = await temporaryFolder();
    await using temporary = await temporaryFolder();
    await using service = await startService(
      { CLIP_MODEL: 'demo', CLIP_CACHE: folder.path, TMPDIR: temporary.path },
      withSmallDisk(folder.path, 2),
    );
    await service.ready();
    await goodAnswer(service.url);
    const warnings = service.log.filter(({ level }) => level === 'warn').map(({ msg }) => msg);
    expect(warnings).toContain('the compiled model cannot be kept in its cache folder');
  });

  test('under everything: 503 with the reason, nothing left behind; when there is room, it comes up', async () => {
    await using folder = await temporaryFolder();
    await using service = await startService(
      { CLIP_MODEL: 'demo', CLIP_CACHE: folder.path, TMPDIR: folder.path },
      withSmallDisk(folder.path, 2),
    );
    const disk = seenBy(service.pid, folder.path);
    const body = joinForm([filePart('a.jpg', Uint8Array.of(1)), categoriesPart('red')]);
    const ask = () => post({ url: service.url, path: '/categorize', contentType: CONTENT_TYPE, body });
    let outcome = await ask();
    while (typeof outcome !== 'string' && outcome.body.includes('model_loading')) {
      await Bun.sleep(50);
      outcome = await ask();
    }
    if (typeof outcome === 'string') throw new Error(outcome);
    expect(outcome.status).toBe(503);
    expect(Number(outcome.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(JSON.parse(outcome.body)).toMatchObject({
      code: 'model_missing',
      error: expect.stringContaining('full'),
    });
    expect((await fetch(`${service.url}/health`)).status).toBe(200);
    const left = readdirSync(disk, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== FILLER)
      .map((entry) => statSync(join(entry.parentPath, entry.name)).size);
    expect(left.filter((size) => size > 100_000)).toEqual([]);

    rmSync(join(disk, FILLER));
    await service.ready();
    await goodAnswer(service.url);
  });

  test('under the temporary folder: a video is refused with 507, its part removed; pictures are not touched by it', async () => {
    await using cache = await temporaryFolder();
    await using temporary = await temporaryFolder();
    await using service = await startService(
      { CLIP_MODEL: 'demo', CLIP_CACHE: cache.path, TMPDIR: temporary.path },
      withSmallDisk(temporary.path, 2),
    );
    await service.ready();
    const body = joinForm([
      categoriesPart('red,green'),
      filePart('film.mp4', new Uint8Array(5 * 1024 ** 2), 'video'),
    ]);
    const outcome = await post({ url: service.url, path: '/video', contentType: CONTENT_TYPE, body });
    expect(outcome).toMatchObject({ status: 507 });
    expect(typeof outcome !== 'string' && JSON.parse(outcome.body)).toMatchObject({ code: 'storage_full' });
    await goodAnswer(service.url);
    expect(readdirSync(seenBy(service.pid, temporary.path))).toEqual([FILLER]);
  });
});
