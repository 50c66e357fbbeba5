import { expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import packageJson from '../../../../package.json';

const root = join(import.meta.dir, '../../../..');

test('kernel.wasm is what kernel.ts compiles to', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kernel-'));
  try {
    const outFile = join(folder, 'kernel.wasm');
    const [, ...compile] = packageJson.scripts['compile-kernel'].split(' ');
    const compiler = Bun.spawn([process.execPath, ...compile, '--outFile', outFile], {
      cwd: root,
      stdout: 'ignore',
      stderr: 'pipe',
    });
    const complaints = await new Response(compiler.stderr).text();
    expect({ code: await compiler.exited, complaints }).toEqual({ code: 0, complaints: '' });
    const committed = await Bun.file(join(root, 'src/media/picture/resample/kernel.wasm')).bytes();
    expect(Buffer.compare(await Bun.file(outFile).bytes(), committed)).toBe(0);
  } finally {
    await rm(folder, { recursive: true });
  }
});
