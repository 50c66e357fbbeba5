import { describe, expect, test } from 'bun:test';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { manifest } from '../../../models/manifest.ts';
import {
  findCheckpoint,
  resolveModelRequest,
  searchOrder,
  usualDirectories,
} from '../../../src/clip/store/search.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('CLIP_MODEL', () => {
  test('may be a name of the manifest, although that looks like a path', async () => {
    for (const model of manifest) {
      expect(await resolveModelRequest(model.name, manifest)).toEqual({ kind: 'named', model });
    }
  });

  test.each([
    ['ViT-B-32', 'ViT-B/32'],
    ['vit-b/32', 'ViT-B/32'],
    ['ViT_B_16', 'ViT-B/16'],
    ['ViT-L-14', 'ViT-L/14'],
    ['ViT-L-14-336', 'ViT-L/14@336px'],
    ['laion/clip-vit-b-32-laion2b-s34b-b79k', 'laion/CLIP-ViT-B-32-laion2B-s34B-b79K'],
  ])('may be %s, another spelling of %s', async (spelling, name) => {
    expect(await resolveModelRequest(spelling, manifest)).toMatchObject({ kind: 'named', model: { name } });
  });

  test('may be demo', async () => {
    expect(await resolveModelRequest('demo', manifest)).toEqual({ kind: 'demo' });
  });

  test('may be a path, absolute or relative, of any file name', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'weights');
    await writeFile(path, '');
    expect(await resolveModelRequest(path, manifest)).toEqual({ kind: 'file', path });
    expect(await resolveModelRequest(relative('.', path), manifest)).toEqual({ kind: 'file', path });
  });

  test.each(['/no/such/file', './missing', '../missing', 'missing.pt', 'a/b/missing.safetensors'])(
    'that names the missing file %s is an error with its full path, which time may heal',
    async (name) => {
      const failure = await resolveModelRequest(name, manifest).catch((error) => error);
      expect(failure).toMatchObject({ fault: 'checkpoint_missing', retryable: true });
      expect(failure.message).toContain(`${resolve(name)}, which does not exist`);
    },
  );

  test('that names a folder is an error', async () => {
    await using folder = await temporaryFolder();
    const failure = await resolveModelRequest(folder.path, manifest).catch((error) => error);
    expect(failure).toMatchObject({ fault: 'checkpoint_missing' });
    expect(failure.message).toContain('not a file');
  });

  test.each(['ViT-B/33', 'vit', 'RN50', 'ViT-L-1'])(
    'that is the unknown name %s lists the known ones',
    async (name) => {
      const failure = await resolveModelRequest(name, manifest).catch((error) => error);
      expect(failure).toMatchObject({ fault: 'model_unknown', retryable: false });
      expect(failure.message).toContain(JSON.stringify(name));
      expect(failure.message).toContain(
        'Known models: ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px, laion/CLIP-ViT-B-32-laion2B-s34B-b79K, demo.',
      );
    },
  );
});

describe('the search', () => {
  const names = ['ViT-B-32.pt', 'model.pt', 'model.safetensors'];

  test('looks into the usual folders in their order', () => {
    expect(usualDirectories()).toEqual([
      '/.cache/clip',
      join(homedir(), '.cache/clip'),
      resolve('.cache/clip'),
    ]);
  });

  test('begins with CLIP_CACHE, and looks into no folder twice', () => {
    expect(searchOrder(undefined, ['/a', '/b'])).toEqual(['/a', '/b']);
    expect(searchOrder('/c', ['/a', '/b'])).toEqual(['/c', '/a', '/b']);
    expect(searchOrder('/b', ['/a', '/b'])).toEqual(['/b', '/a']);
    expect(searchOrder('models', ['/a'])).toEqual([resolve('models'), '/a']);
  });

  test('prefers an earlier folder to an earlier name', async () => {
    await using folder = await temporaryFolder();
    const [first, second] = [join(folder.path, '1'), join(folder.path, '2')];
    await mkdir(first);
    await mkdir(second);
    await writeFile(join(second, 'ViT-B-32.pt'), '');
    expect(await findCheckpoint([first, second], names)).toBe(join(second, 'ViT-B-32.pt'));
    await writeFile(join(first, 'model.safetensors'), '');
    expect(await findCheckpoint([first, second], names)).toBe(join(first, 'model.safetensors'));
    await writeFile(join(first, 'model.pt'), '');
    expect(await findCheckpoint([first, second], names)).toBe(join(first, 'model.pt'));
  });

  test.each(manifest.slice(1))('does not take a file of another model for $name', async ({ fileNames }) => {
    await using folder = await temporaryFolder();
    const others = manifest.filter((model) => model.fileNames !== fileNames);
    for (const name of others.flatMap((model) => model.fileNames))
      await writeFile(join(folder.path, name), '');
    expect(await findCheckpoint([folder.path], fileNames)).toBeUndefined();
  });

  test('follows links, and passes over folders, dangling links and folders that are files', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'file');
    await writeFile(file, '');
    await mkdir(join(folder.path, 'ViT-B-32.pt'));
    await symlink('nowhere', join(folder.path, 'model.pt'));
    const directories = [join(folder.path, 'absent'), file, folder.path];
    expect(await findCheckpoint(directories, names)).toBeUndefined();
    await symlink(file, join(folder.path, 'model.safetensors'));
    expect(await findCheckpoint(directories, names)).toBe(join(folder.path, 'model.safetensors'));
  });
});
