import { expect, test } from 'bun:test';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import packageJson from '../../package.json';
import { temporaryFolder } from '../robustness/target.ts';

const root = join(import.meta.dir, '../..');
const original = await readFile(join(root, 'Dockerfile'), 'utf8');

/** Runs the script on a copy of the Dockerfile, with a `docker` that answers by these lines of a shell. */
async function pin(docker: string, dockerfile: string, ...flags: readonly string[]) {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'Dockerfile');
  await writeFile(path, dockerfile);
  await writeFile(join(folder.path, 'docker'), `#!/bin/sh\n${docker}\n`);
  await chmod(join(folder.path, 'docker'), 0o755);
  const child = Bun.spawn(['deploy/pin-base-images.sh', ...flags], {
    cwd: root,
    env: { PATH: `${folder.path}:${process.env.PATH}`, DOCKERFILE: path },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const output = await child.stdout.text();
  return { code: await child.exited, output, dockerfile: await readFile(path, 'utf8') };
}

/** A digest that differs by the image that is asked for. */
const digests = `[ "$2" = version ] || case "$4" in oven/bun:${packageJson.devDependencies['bun-types']}-slim) printf "sha256:%064d" 1 ;; debian:*-slim) printf "sha256:%064d" 2 ;; esac`;
const digest = (number: number) => `@sha256:${String(number).padStart(64, '0')}`;

test('pins both images, and removes the pins again', async () => {
  const pinned = await pin(digests, original);
  expect(pinned.code).toBe(0);
  expect(pinned.dockerfile).toBe(
    original
      .replace('ARG BUN_DIGEST=\n', `ARG BUN_DIGEST=${digest(1)}\n`)
      .replace('ARG DEBIAN_DIGEST=\n', `ARG DEBIAN_DIGEST=${digest(2)}\n`),
  );
  expect(pinned.output.split('\n').length).toBe(3);
  expect((await pin(digests, pinned.dockerfile)).dockerfile).toBe(pinned.dockerfile);
  expect((await pin(digests, pinned.dockerfile, '--remove')).dockerfile).toBe(original);
});

test.each([
  '[ "$2" = version ] || exit 1',
  '[ "$2" = version ] || echo "sha256:short"',
  '[ "$2" = version ] || echo unauthorized',
])('changes nothing where the registry gives no digest: %s', async (docker) => {
  const { code, dockerfile } = await pin(docker, original);
  expect(code).not.toBe(0);
  expect(dockerfile).toBe(original);
});
