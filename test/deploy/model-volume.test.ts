import { describe, expect, test } from 'bun:test';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { goodAnswer, temporaryFolder } from '../robustness/target.ts';
import { type ServiceEnvironment, startService } from '../service/service.ts';

const root = join(import.meta.dir, '../..');

/** Runs a command that sees `folder` as a read-only mount. */
const withReadOnly = (folder: string) => [
  ...['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c'],
  'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"',
  folder,
];

const canMount = await (async () => {
  await using folder = await temporaryFolder();
  try {
    const write = Bun.spawnSync([...withReadOnly(folder.path), 'touch', join(folder.path, 'file')]);
    return write.exitCode === 1 && String(write.stderr).includes('Read-only file system');
  } catch {
    return false;
  }
})();
if (!canMount) console.log('a read-only model volume: skipped, nothing can be mounted here');

async function fetchModel(environment: ServiceEnvironment) {
  const child = Bun.spawn([process.execPath, 'src/fetch-model.ts'], {
    cwd: root,
    env: { PATH: process.env.PATH, ...environment },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const log = await new Response(child.stderr).text();
  return { code: await child.exited, log };
}

/** Every file of a folder with its size and time. */
async function inventory(folder: string): Promise<readonly string[]> {
  const paths = await readdir(folder, { recursive: true });
  const lines = paths.map(async (path) => {
    const { size, mtimeMs } = await stat(join(folder, path));
    return `${path} ${size} ${mtimeMs}`;
  });
  return (await Promise.all(lines)).toSorted();
}

/** A checkpoint of OpenAI's layout under the name that is looked for. */
async function placeCheckpoint(folder: string): Promise<void> {
  const packed = await Bun.file(join(root, 'test/golden/clip-tiny.pt.gz')).bytes();
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'ViT-B-32.pt'), Bun.gunzipSync(packed));
}

describe('fetching a model', () => {
  test('ends with 0 when it is there, and finds it there the next time', async () => {
    await using volume = await temporaryFolder();
    const environment = { CLIP_MODEL: 'demo', CLIP_CACHE: volume.path };
    const first = await fetchModel(environment);
    expect(first.code).toBe(0);
    expect(first.log).toContain('compiling the model');
    expect(first.log.trim().split('\n').at(-1)).toContain('the model is there');
    const before = await inventory(volume.path);
    const second = await fetchModel(environment);
    expect(second.code).toBe(0);
    expect(second.log).not.toContain('compiling');
    expect(await inventory(volume.path)).toEqual(before);
  });

  test.each([
    ['a model that nobody knows', { CLIP_MODEL: 'ViT-Z/1' }, 2, 'not a known model'],
    ['a file that is not there', { CLIP_MODEL: '/no/such/model.pt' }, 2, 'does not exist'],
    [
      'an address that nothing answers',
      { CLIP_MODEL_URL: 'http://127.0.0.1:1/model.pt' },
      1,
      'CLIP_MODEL_URL',
    ],
    [
      'a name that would tell a terminal something',
      { CLIP_MODEL: 'a\u009b2J\u202eb' },
      2,
      'a\\u009b2J\\u202eb',
    ],
    ['a setting that cannot be used', { CLIP_PRECISION: 'int3' }, 2, 'CLIP_PRECISION'],
  ])('tells of %s', async (_, environment, code, sentence) => {
    await using volume = await temporaryFolder();
    const fetched = await fetchModel({ CLIP_CACHE: volume.path, ...environment });
    expect(fetched.code).toBe(code);
    expect(fetched.log).toContain(sentence);
    expect(fetched.log).not.toContain(' at ');
  });
});

describe.if(canMount)('services with one read-only volume', () => {
  test.each(['demo', 'ViT-B/32'])(
    'start on what was fetched into it, without compiling: %s',
    async (model) => {
      await using volume = await temporaryFolder();
      await using temporary = await temporaryFolder();
      if (model !== 'demo') await placeCheckpoint(volume.path);
      const environment = { CLIP_MODEL: model, CLIP_CACHE: volume.path, CLIP_PRECISION: 'fp32' };
      expect((await fetchModel(environment)).code).toBe(0);
      const before = await inventory(volume.path);

      await using service = await startService(
        { ...environment, TMPDIR: temporary.path },
        withReadOnly(volume.path),
      );
      await service.ready();
      if (model === 'demo') await goodAnswer(service.url);
      const messages = service.log.map(({ msg }) => String(msg));
      expect(messages.filter((message) => /compil|temporary/.test(message))).toEqual([]);
      expect(messages.filter((message) => ['ready', 'listening'].includes(message))).toEqual([
        'ready',
        'listening',
      ]);
      expect(await inventory(volume.path)).toEqual(before);
      expect(await readdir(temporary.path)).toEqual([]);
    },
  );
});
