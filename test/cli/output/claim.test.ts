import { describe, expect, test } from 'bun:test';
import { lstat, mkdir, readlink, symlink } from 'node:fs/promises';
import { claimFolder, replaceFile } from '../../../src/cli/output/claim.ts';
import { bestFileTable, lineFormats } from '../../../src/cli/output/line-format.ts';
import { continueOutput, reserveOutput } from '../../../src/cli/output/output.ts';
import { UsageError } from '../../../src/cli/usage-error.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';

const asked = { categories: ['cat'], templates: null, threshold: null, top_k: 5 };
const model = { name: 'ViT-B/32', precision: 'fp32', sha256: '40d365715913c9da' } as const;

/** Writes an output as a complete run does, in both ways. */
const ways: Readonly<Record<string, (path: string) => Promise<void>>> = {
  'record by record': async (path) => {
    await using output = await continueOutput(path, lineFormats.json, asked);
    await output.answeredBy(model);
    await output.write({ file: '1.jpg', category: 'cat' });
  },
  'at once': async (path) => {
    await using reserved = await reserveOutput(path);
    await reserved.write([{ category: 'cat', file: '1.jpg' }], lineFormats.json, bestFileTable);
  },
};

describe.each(Object.entries(ways))('an output that is written %s', (_, write) => {
  /** Writes. @returns why it was refused */
  const refusal = (path: string): Promise<unknown> =>
    write(path).then(
      () => undefined,
      (fault: unknown) => fault,
    );

  test.each(['victim', 'nowhere'])('does not follow a link to %s', async (target) => {
    await using folder = await temporaryFolder();
    await folder.write({ victim: '' });
    await symlink(folder.at(target), folder.at('out'));
    const fault = await refusal(folder.at('out'));
    expect(fault).toBeInstanceOf(UsageError);
    expect(String(fault)).toContain('out is a symbolic link, which is not followed');
    expect(await folder.read()).toEqual({ victim: '' });
    expect(await readlink(folder.at('out'))).toBe(folder.at(target));
  });

  test('touches no file of another name, nor what a link of such a name leads to', async () => {
    await using folder = await temporaryFolder();
    const others = { victim: 'theirs', 'out.part': 'theirs' };
    await folder.write(others);
    await symlink(folder.at('victim'), folder.at('out.question.json.part'));
    await write(folder.at('out'));
    expect(await folder.read()).toMatchObject(others);
    expect(await readlink(folder.at('out.question.json.part'))).toBe(folder.at('victim'));
    const names = Object.keys(await folder.read()).filter((name) => !(name in others));
    expect(names.filter((name) => !/^out\.(?:question\.json|seen)$/.test(name))).toEqual(['out']);
  });

  test('may lie in a folder that is a link', async () => {
    await using folder = await temporaryFolder();
    await mkdir(folder.at('real'));
    await symlink('real', folder.at('link'));
    await write(folder.at('link/out'));
    expect(await Bun.file(folder.at('real/out')).text()).toContain('1.jpg');
  });

  test('is refused to a second run as long as the first one writes it', async () => {
    await using folder = await temporaryFolder();
    for (const first of [
      () => reserveOutput(folder.at('out')),
      () => continueOutput(folder.at('out'), lineFormats.json, asked),
    ]) {
      {
        await using _ = await first();
        const before = await folder.read();
        const fault = await refusal(folder.at('out'));
        expect(fault).toBeInstanceOf(UsageError);
        expect(String(fault)).toContain('out is being written by another run. Wait until that run ends');
        expect(await folder.read()).toEqual(before);
      }
    }
    await write(folder.at('out'));
    expect(await Bun.file(folder.at('out')).text()).toContain('1.jpg');
  });
});

test('what was asked is not kept where a link leads', async () => {
  await using folder = await temporaryFolder();
  await folder.write({ victim: 'theirs' });
  for (const target of ['victim', 'nowhere']) {
    await using inner = await temporaryFolder(folder.path);
    await symlink(folder.at(target), inner.at('out.question.json'));
    const opening = continueOutput(inner.at('out'), lineFormats.json, asked);
    expect(opening).rejects.toThrow('out.question.json exists and was not written by this command');
    await opening.catch(() => undefined);
    expect(await inner.read()).toEqual({});
  }
  expect(await folder.read()).toEqual({ victim: 'theirs' });
});

test('a file that is replaced is replaced as a whole, and a link in its place with it', async () => {
  await using folder = await temporaryFolder();
  await folder.write({ victim: 'theirs' });
  await symlink(folder.at('victim'), folder.at('file'));
  await replaceFile(folder.at('file'), 'ours');
  expect(await folder.read()).toEqual({ file: 'ours', victim: 'theirs' });
  await mkdir(folder.at('folder'));
  expect(replaceFile(folder.at('folder'), 'ours')).rejects.toThrow();
  await replaceFile(folder.at('folder'), 'ours').catch(() => undefined);
  expect(Object.keys(await folder.read())).toEqual(['file', 'victim']);
});

describe('a folder that files are put into', () => {
  const isThere = (folder: TemporaryFolder, name: string) =>
    lstat(folder.at(name)).then(
      () => true,
      () => false,
    );

  test('is refused to a second run', async () => {
    await using folder = await temporaryFolder();
    {
      await using _ = await claimFolder(folder.at('sorted'));
      const second = claimFolder(folder.at('sorted'));
      expect(second).rejects.toThrow(UsageError);
      expect(second).rejects.toThrow('Another run is putting files into');
      await second.catch(() => undefined);
    }
    await using _ = await claimFolder(folder.at('sorted'));
  });

  test('is removed where it was made for nothing, with those around it', async () => {
    await using folder = await temporaryFolder();
    await mkdir(folder.at('a'));
    {
      await using _ = await claimFolder(folder.at('a/b/c'));
      expect(await isThere(folder, 'a/b/c')).toBe(true);
    }
    expect([await isThere(folder, 'a/b'), await isThere(folder, 'a')]).toEqual([false, true]);
    {
      await using _ = await claimFolder(folder.at('a/b'));
      await folder.write({ 'a/b/file': '' });
    }
    expect(await isThere(folder, 'a/b/file')).toBe(true);
  });

  test.skipIf(process.platform !== 'linux')(
    'is refused before the work if nothing can be put into it',
    () => {
      expect(claimFolder('/proc/self')).rejects.toThrow('Files cannot be put into /proc/self, because ');
    },
  );

  test('is named where it cannot be made', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ file: '' });
    const sentence = 'file cannot be created, because a file has that name.';
    expect(claimFolder(folder.at('file'))).rejects.toThrow(sentence);
  });
});
