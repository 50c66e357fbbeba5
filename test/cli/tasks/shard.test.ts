import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { packTar } from 'modern-tar';
import { shardOf } from '../../../src/cli/shards/shard.ts';
import { pictureOf } from '../fake-classifier.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { type RunOptions, runTask, type TaskRun } from './run-task.ts';

const WORDS = ['cat', 'dog', 'fish', 'a/b'];

/** Three tar files, ten photos, and files that are none. */
async function library(membersEach = 10): Promise<TemporaryFolder> {
  const folder = await temporaryFolder();
  const photo = (number: number) => pictureOf(`${WORDS[number % WORDS.length]}`);
  for (let archive = 0; archive < 3; archive++) {
    const members = Array.from({ length: membersEach }, (_, number) => {
      const body = number === 7 ? pictureOf('broken') : photo(number);
      return { header: { name: `${number}.gif`, size: body.length, type: 'file' as const }, body };
    });
    const label = { header: { name: '0.cls', size: 1, type: 'file' as const }, body: '1' };
    await folder.write({ [`in/${archive}.tar`]: await packTar([label, ...members]) });
  }
  for (let number = 0; number < 10; number++)
    await folder.write({ [`in/photos/${number}.gif`]: photo(number) });
  await folder.write({ 'in/readme.txt': 'text' });
  return folder;
}

const PHOTOS = 40;
const COUNT = 3;

function shard(folder: TemporaryFolder, index: number, options: RunOptions & { argv?: string[] } = {}) {
  const argv = [folder.at('in'), '--shard', `${index}/${COUNT}`, '--output', folder.at('out')];
  return runTask([...argv, ...(options.argv ?? [])], options);
}

/** Runs a shard until it is complete, interrupted after every few answers. */
async function shardWithInterruptions(folder: TemporaryFolder, index: number): Promise<readonly TaskRun[]> {
  const runs: TaskRun[] = [];
  for (let run = 0; run < 100; run++) {
    const visible = (await readdir(folder.at('out')).catch(() => [])).filter((name) =>
      name.startsWith('part-'),
    );
    expect(visible.length).toBe(index);
    runs.push(await shard(folder, index, { interruptAfter: 25 }));
    if (runs.at(-1)?.fault === undefined) return runs;
  }
  throw new Error('the shard does not end');
}

async function records(path: string): Promise<readonly { readonly file: string }[]> {
  const text = await Bun.file(path).text();
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

const merge = (folder: TemporaryFolder, output = 'all.jsonl') =>
  runTask(['merge', folder.at('out'), '--output', folder.at(output)]);

describe('shards', () => {
  test('answer every photo once, and the merged answers are those of one run', async () => {
    await using folder = await library();
    for (let index = 0; index < COUNT; index++) {
      const { fault, tally } = await shard(folder, index);
      expect(fault).toBeUndefined();
      expect(tally.left).toBe(0);
    }
    const merged = await merge(folder);
    expect(merged.fault).toBeUndefined();
    expect(merged.stderr).toContain(`${PHOTOS} photos of ${COUNT} parts, 3 of them with errors.`);
    const all = await records(folder.at('all.jsonl'));
    expect(new Set(all.map(({ file }) => file)).size).toBe(PHOTOS);
    expect(all.length).toBe(PHOTOS);
    expect(all.map(({ file }) => shardOf(file, COUNT))).toEqual(
      all.map(({ file }) => shardOf(file, COUNT)).toSorted(),
    );
    // The same, without shards.
    await runTask([folder.at('in'), '--output', folder.at('whole.parquet')]);
    await runTask(['merge', folder.at('whole.parquet'), '--output', folder.at('whole.jsonl')]);
    const byFile = (some: typeof all) => some.toSorted((a, b) => (a.file < b.file ? -1 : 1));
    expect(byFile(await records(folder.at('whole.jsonl')))).toEqual(byFile(all));
  });

  test('that are interrupted continue, and no incomplete part is visible', async () => {
    await using folder = await library(60);
    let runs = 0;
    for (let index = 0; index < COUNT; index++) runs += (await shardWithInterruptions(folder, index)).length;
    expect(runs).toBeGreaterThan(COUNT + 5);
    expect((await merge(folder)).fault).toBeUndefined();
    const all = await records(folder.at('all.jsonl'));
    expect(all.length).toBe(3 * 60 + 10);
    expect(new Set(all.map(({ file }) => file)).size).toBe(all.length);
    expect((await readdir(folder.at('out'))).filter((name) => /progress|\.part$/.test(name))).toEqual([]);
  });

  test('have at most 16 photos that are begun and not recorded: these are lost if the worker is killed', async () => {
    await using folder = await temporaryFolder();
    for (let number = 0; number < 60; number++)
      await folder.write({ [`in/${number}.gif`]: pictureOf('cat') });
    const log = folder.at('_a.jsonl.progress');
    let begun = 0;
    const open: number[] = [];
    await runTask([folder.at('in'), '--shard', '0/1', '--output', folder.at('a.jsonl')], {
      onBatch(photos) {
        begun += photos;
        open.push(begun - (readFileSync(log, 'utf8').match(/^photo\t/gm)?.length ?? 0));
      },
    });
    expect(begun).toBe(60);
    expect(Math.max(...open)).toBe(16);
  });

  test('that are complete do nothing, and refuse another question, other photos and another shard', async () => {
    await using folder = await library();
    await shard(folder, 0);
    const again = await shard(folder, 0);
    expect(again.asked).toEqual([]);
    expect(again.stderr).toContain('part-00000-of-00003.jsonl is complete: there was nothing to do.');
    const other = await shard(folder, 0, { labels: ['cat', 'bird'] });
    expect(other.fault).toHaveProperty('message', expect.stringContaining('has answers to another question'));
    const elsewhere = ['--shard', `0/${COUNT}`, '--output', folder.at('out')];
    expect((await runTask([folder.at('in/photos'), ...elsewhere])).fault).toHaveProperty(
      'message',
      expect.stringContaining('has answers about'),
    );
    const name = ['--shard', `1/${COUNT}`, '--output', folder.at('out/part-00000-of-00003.jsonl')];
    expect((await runTask([folder.at('in'), ...name])).fault).toHaveProperty(
      'message',
      expect.stringContaining('is shard 0/3, not 1/3.'),
    );
  });

  test('that were begun refuse another question, too, and leave the progress', async () => {
    await using folder = await library();
    const index = shardOf(folder.at('in/0.tar'), COUNT);
    expect((await shard(folder, index, { interruptAfter: 2 })).fault).toBeDefined();
    const other = await shard(folder, index, { labels: ['cat', 'bird'] });
    expect(other.fault).toHaveProperty('message', expect.stringContaining('has answers to another question'));
    expect((await shard(folder, index)).fault).toBeUndefined();
  });

  test('leave what cannot be read now, write no part, and try it again', async () => {
    await using folder = await library();
    const argv = [folder.at('in'), folder.at('missing'), '--output', folder.at('a.parquet')];
    const first = await runTask(argv);
    expect(first.fault).toBeUndefined();
    expect(first.tally.left).toBe(1);
    expect(first.stderr).toContain(`${folder.at('a.parquet')} is not written, because photos are left.`);
    expect(await Bun.file(folder.at('a.parquet')).exists()).toBe(false);
    await folder.write({ 'missing/1.gif': pictureOf('cat') });
    const second = await runTask(argv);
    expect(second.asked).toEqual(['cat']);
    expect(second.stderr).toContain(`${PHOTOS + 1} photos, 3 of them with errors.`);
  });

  test('leave photos at which the engine fails, and read only these again of their tar file', async () => {
    await using folder = await library();
    let fails = true;
    const options: RunOptions = {
      async onAdd(word) {
        if (word === 'fish' && fails) throw new TypeError('a bug');
      },
    };
    const argv = [folder.at('in/1.tar'), '--output', folder.at('a.jsonl')];
    const first = await runTask(argv, options);
    expect(first.tally.left).toBe(2);
    fails = false;
    const second = await runTask(argv, options);
    expect(second.asked).toEqual(['fish', 'fish']);
    expect((await records(folder.at('a.jsonl'))).length).toBe(10);
  });

  test('answer a tar file anew that was replaced meanwhile', async () => {
    await using folder = await library();
    const argv = [folder.at('in/0.tar'), '--output', folder.at('a.jsonl')];
    expect((await runTask(argv, { interruptAfter: 5 })).fault).toBeDefined();
    const body = pictureOf('dog');
    const header = { name: 'new.gif', size: body.length, type: 'file' as const };
    await folder.write({ 'new.tar': await packTar([{ header, body }]) });
    await rename(folder.at('new.tar'), folder.at('in/0.tar'));
    expect((await runTask(argv)).fault).toBeUndefined();
    expect((await records(folder.at('a.jsonl'))).map(({ file }) => file)).toEqual([
      folder.at('in/0.tar/new.gif'),
    ]);
  });

  test('record a broken tar file with the photos before the fault', async () => {
    await using folder = await library();
    const archive = await Bun.file(folder.at('in/0.tar')).bytes();
    await folder.write({ 'cut.tar': archive.subarray(0, 512 * 7) });
    const run = await runTask([folder.at('cut.tar'), '--output', folder.at('a.jsonl')]);
    expect(run.tally.left).toBe(0);
    expect(await records(folder.at('a.jsonl'))).toMatchObject([
      { file: folder.at('cut.tar/0.gif'), category: 'cat' },
      { file: folder.at('cut.tar/1.gif'), category: 'dog' },
      { file: folder.at('cut.tar'), code: 'archive_broken', error: expect.stringContaining('is cut off') },
    ]);
  });

  test('keep several categories in Parquet and in JSON lines', async () => {
    await using folder = await library();
    const argv = [folder.at('in/0.tar'), '--several'];
    await runTask([...argv, '--output', folder.at('a.parquet')]);
    await runTask([...argv, '--output', folder.at('b.jsonl')]);
    await runTask(['merge', folder.at('a.parquet'), '--output', folder.at('a.jsonl')]);
    const [first, second] = [await records(folder.at('a.jsonl')), await records(folder.at('b.jsonl'))];
    expect(first).toEqual([...second]);
    expect(first[0]).toMatchObject({ category: 'cat', categories: ['cat'] });
  });

  test('print answers without --output, in any format', async () => {
    await using folder = await library();
    const { stdout, stderr } = await runTask([folder.at('in/0.tar'), '--csv']);
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      'file,category,score,similarity,code,error',
      `${folder.at('in/0.tar/0.gif')},cat,0.9,0.3,,`,
      `${folder.at('in/0.tar/1.gif')},dog,0.9,0.3,,`,
    ]);
    expect(stderr).toContain('7.gif: It is broken.');
  });
});

describe('merge', () => {
  async function allShards(): Promise<TemporaryFolder> {
    const folder = await library();
    for (let index = 0; index < COUNT; index++) await shard(folder, index);
    return folder;
  }
  const faultOf = async (folder: TemporaryFolder) => {
    const { fault } = await merge(folder);
    expect(await Bun.file(folder.at('all.jsonl')).exists()).toBe(false);
    return fault instanceof Error ? `${fault.name}: ${fault.message}` : fault;
  };
  const partPath = (folder: TemporaryFolder, index: number) =>
    folder.at(`out/part-0000${index}-of-00003.jsonl`);

  test('names missing parts', async () => {
    await using folder = await allShards();
    await Bun.file(partPath(folder, 1)).delete();
    expect(await faultOf(folder)).toContain('1 of 3 parts is missing, of the shards 1/3.');
    await Bun.file(partPath(folder, 2)).delete();
    expect(await faultOf(folder)).toContain('2 of 3 parts are missing, of the shards 1/3, 2/3.');
    await Bun.file(partPath(folder, 0)).delete();
    expect(await faultOf(folder)).toContain('There are no parts in');
  });

  test('refuses parts of different questions, of different counts, and the same part twice', async () => {
    await using folder = await allShards();
    const other = ['--shard', `1/${COUNT}`, '--output', folder.at('other')];
    await runTask([folder.at('in'), ...other, '--threshold', '0.5']);
    for (const name of ['part-00001-of-00003.jsonl', '_part-00001-of-00003.jsonl.question.json']) {
      await rename(folder.at(`other/${name}`), folder.at(`out/${name}`));
    }
    expect(await faultOf(folder)).toContain('--threshold was 0.5 and is now not set');
    for (const name of ['part-00001-of-00003.jsonl', '_part-00001-of-00003.jsonl.question.json']) {
      await Bun.file(folder.at(`out/${name}`)).delete();
    }
    await shard(folder, 1);
    await shard(folder, 1, { argv: ['--parquet'] });
    expect(await faultOf(folder)).toContain('are the same shard, 1/3.');
    await runTask([folder.at('in'), '--shard', '0/4', '--output', folder.at('out')]);
    expect(await faultOf(folder)).toContain('is one of 4 parts, but');
  });

  test('refuses a part with a photo twice, with photos of another shard, or with fewer than it had', async () => {
    await using folder = await allShards();
    const [path, other] = [partPath(folder, shardOf(folder.at('in/0.tar'), COUNT)), folder.at('other')];
    const text = await Bun.file(path).text();
    const [line = ''] = text.split('\n');
    await Bun.write(path, `${text}${line}\n`);
    expect(await faultOf(folder)).toMatch(/UsageError: .* has .* twice\./);
    await Bun.write(path, text.slice(line.length + 1));
    expect(await faultOf(folder)).toContain('when it was written. Remove it, and run shard');
    await Bun.write(path, text.replaceAll(folder.path, other));
    expect(await faultOf(folder)).toContain('which belongs to shard');
  });

  test('refuses parts that it cannot know', async () => {
    await using folder = await allShards();
    await Bun.file(folder.at('out/_part-00002-of-00003.jsonl.question.json')).delete();
    expect(await faultOf(folder)).toContain('which says what it has, is missing');
  });
});
