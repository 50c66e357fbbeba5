import { describe, expect, test } from 'bun:test';
import { access, mkdir, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { folderOf, prepare, prepareInVain, tiny, tinySum } from './preparing.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('a compiled model', () => {
  test('that is damaged is compiled anew with a warning', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const first = await prepare({ cache: folder.path });
    await truncate(first.model.visionGraphPath, 10);
    const second = await prepare({ cache: folder.path });
    expect(second.model).toEqual(first.model);
    expect(second.stages).toContain('compiling');
    expect(second.log.text('warn')).toContain('cannot be used and is compiled anew');
  });

  test('goes to a temporary folder with a warning where its own cannot be written, and stays there', async () => {
    await using folder = await temporaryFolder();
    await using temporary = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    // A file where the folder should be: even a superuser cannot write below it.
    await writeFile(join(folder.path, 'compiled'), '');
    const setting = { usual: [folder.path], temporaryParent: temporary.path };
    const first = await prepare(setting);
    expect(first.model.visionGraphPath).toStartWith(join(temporary.path, 'classify-images-'));
    expect(first.log.text('warn')).toContain(`${join(folder.path, 'compiled')} cannot be written`);
    const second = await prepare(setting);
    expect(second.model).toEqual(first.model);
    expect(second.stages).not.toContain('compiling');
  });

  test('goes to a temporary folder where the disk is full', async () => {
    await using folder = await temporaryFolder();
    await using temporary = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const compileChildPath = join(folder.path, 'child.ts');
    const real = join(import.meta.dir, '../../../src/clip/store/compile-child.ts');
    const said = { kind: 'failed', fault: 'storage', message: 'no space left on device', errno: 'ENOSPC' };
    await writeFile(
      compileChildPath,
      `if (JSON.parse(process.argv[2]).directory.startsWith(${JSON.stringify(folder.path)})) {
         console.log(${JSON.stringify(JSON.stringify(said))});
       } else await import(${JSON.stringify(real)});`,
    );
    const { model, log } = await prepare({
      usual: [folder.path],
      temporaryParent: temporary.path,
      compileChildPath,
    });
    expect(model.visionGraphPath).toStartWith(temporary.path);
    expect(log.text('warn')).toContain('is full');
    expect(await readdir(join(folder.path, 'compiled'))).toEqual([expect.stringMatching(/sha256\.json$/)]);
  });

  test('that fits nowhere is an error about the disk', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    await writeFile(join(folder.path, 'compiled'), '');
    const failure = await prepareInVain({ usual: [folder.path], temporaryParent: '/proc/none' });
    expect(failure).toMatchObject({ fault: 'storage_failed', retryable: true });
  });

  test('whose process was killed is an error, and leaves nothing behind', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const compileChildPath = join(folder.path, 'child.ts');
    await writeFile(compileChildPath, `process.kill(process.pid, 'SIGKILL'); await Bun.sleep(60_000);`);
    const failure = await prepareInVain({ usual: [folder.path], compileChildPath });
    expect(failure).toMatchObject({ fault: 'compile_failed' });
    expect(failure.message).toContain('SIGKILL');
    expect(await readdir(join(folder.path, 'compiled'))).toHaveLength(1);
  });

  test('is cleaned of what a crash left behind at a later start, although nothing is compiled then', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    await prepare({ cache: folder.path });
    const leftover = join(
      folder.path,
      'compiled',
      `${folderOf(tinySum)}.00000000-0000-4000-8000-000000000000.tmp`,
    );
    await mkdir(leftover);
    const { stages } = await prepare({ cache: folder.path });
    expect(stages).not.toContain('compiling');
    await expect(access(leftover)).rejects.toThrow('ENOENT');
  });

  test('is the same for services that start at once', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const both = await Promise.all([prepare({ cache: folder.path }), prepare({ cache: folder.path })]);
    expect(both[0].model).toEqual(both[1].model);
    expect(await readdir(join(folder.path, 'compiled'))).toContain(folderOf(tinySum));
    expect(await readdir(join(folder.path, 'compiled'))).toHaveLength(2);
  });
});

describe('a precision', () => {
  test('that is left to the service is chosen once by a comparison, and logged with its reasons', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const first = await prepare({ cache: folder.path, precision: 'auto' });
    expect(first.model.precision).toBe('int8');
    expect(first.model.precisionReport).toMatchObject({ accepted: true, pictures: { count: 98 } });
    expect(first.log.text('info')).toContain('int8 is used; it answers as fp32 does');
    expect(first.log.text('info')).toContain('"meanCosine":');
    expect(first.log.text('info')).toContain('"fp32Products":');
    expect(first.log.text('info')).toMatch(/"percent":\d+,"seconds":[\d.]+\} compiling the model/);

    const second = await prepare({ cache: folder.path, precision: 'auto' });
    expect(second.model).toEqual(first.model);
    expect(second.stages).not.toContain('compiling');
  });

  test('that was asked for is what is compiled, beside what was compiled before', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const fp32 = await prepare({ cache: folder.path, precision: 'fp32' });
    const int8 = await prepare({ cache: folder.path, precision: 'int8' });
    expect(int8.model.precision).toBe('int8');
    // Without exceptions, even if auto would leave some products in fp32.
    expect(int8.model.precisionReport).toMatchObject({ pictures: { count: 98 }, fp32Products: [] });
    expect((await prepare({ cache: folder.path, precision: 'fp32' })).model).toEqual(fp32.model);
  });

  test('of the demo model is fp32 without a comparison, unless it was asked for', async () => {
    await using folder = await temporaryFolder();
    const auto = await prepare({ name: 'demo', cache: folder.path, precision: 'auto' });
    expect(auto.model.precision).toBe('fp32');
    expect(auto.model.precisionReport).toBeUndefined();
    // The compile process gets the wish; others test what becomes of it.
    const compileChildPath = join(folder.path, 'child.ts');
    await writeFile(
      compileChildPath,
      `const { precision } = JSON.parse(process.argv[2]);
       console.log(JSON.stringify({ kind: 'failed', fault: 'checkpoint', message: precision + ' is wanted' }));`,
    );
    const failure = await prepareInVain({
      name: 'demo',
      cache: folder.path,
      precision: 'int8',
      compileChildPath,
    });
    expect(failure.message).toContain('int8 is wanted');
  });
});
