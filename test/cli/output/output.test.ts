import { describe, expect, test } from 'bun:test';
import { rm } from 'node:fs/promises';
import {
  bestFileTable,
  fileTable,
  lineFormats,
  type OutputRecord,
} from '../../../src/cli/output/line-format.ts';
import { continueOutput, openStandardOutput, reserveOutput } from '../../../src/cli/output/output.ts';
import type { AnsweringModel, AskedQuestion } from '../../../src/cli/output/provenance.ts';
import { UsageError } from '../../../src/cli/usage-error.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const asked: AskedQuestion = {
  categories: ['cat', 'a "dog",\nor so'],
  templates: null,
  paths_from: '/a',
  threshold: 0.5,
  top_k: 5,
};
const model: AnsweringModel = { name: 'ViT-B/32', precision: 'fp32', sha256: '40d365715913c9da' };
const records: readonly OutputRecord[] = [
  { file: 'p/1.jpg', category: 'cat', score: 0.9, similarity: 0.3, scores: [] },
  { file: 'p/2 "x",\n.jpg', category: 'a "dog",\nor so', score: 0.8, similarity: 0.2, scores: [] },
  { file: 'p/3.jpg', category: null, score: 0.1, similarity: 0.1, scores: [] },
  { file: 'p/4.jpg', code: 'image_broken', error: 'It is "broken".' },
];

const firstRecord: OutputRecord = records[0] ?? {};

describe('an output with several categories for each file', () => {
  const several: AskedQuestion = { ...asked, categories: ['cat', 'a; b', '-', 'c\\'], several: true };
  const lists: readonly OutputRecord[] = [
    { file: 'p/1.jpg', category: 'cat', categories: ['cat', 'a; b'], score: 0.9, similarity: 0.3 },
    { file: 'p/2.jpg', category: null, categories: [], score: 0.1, similarity: 0.1 },
    { file: 'p/3.jpg', category: '-', categories: ['-'], score: 0.8, similarity: 0.2 },
    { file: 'p/4.jpg', category: 'c\\', categories: ['c\\', '-', 'cat'], score: 0.8, similarity: 0.2 },
  ];

  for (const format of Object.values(lineFormats)) {
    test(`is completed where it was cut off, as ${format.name}, and knows what was found out`, async () => {
      await using folder = await temporaryFolder();
      const run = async () => {
        await using output = await continueOutput(folder.at('out'), format, several);
        await output.answeredBy(model);
        for (const record of lists) if (!output.recorded.has(String(record.file))) await output.write(record);
        return output.recorded;
      };
      await run();
      const whole = await Bun.file(folder.at('out')).bytes();
      for (let length = 0; length <= whole.length; length++) {
        await folder.write({ out: whole.subarray(0, length) });
        await run();
        expect(await Bun.file(folder.at('out')).bytes()).toEqual(whole);
      }
      expect([...(await run())]).toEqual(
        lists.map(({ file, categories }) => [
          String(file),
          { kind: 'answered', categories: categories as string[] },
        ]),
      );
      const single = continueOutput(folder.at('out'), format, { ...several, several: null });
      expect(single).rejects.toThrow('--several was true and is now not set');
    });
  }
});

for (const format of Object.values(lineFormats)) {
  describe(`an output as ${format.name}`, () => {
    const whole = format.header(fileTable) + records.map((record) => format.line(record, fileTable)).join('');

    const run = async (path: string) => {
      await using output = await continueOutput(path, format, asked);
      await output.answeredBy(model);
      for (const record of records) if (!output.recorded.has(String(record.file))) await output.write(record);
      return output.recorded;
    };

    test('is written record by record', async () => {
      await using folder = await temporaryFolder();
      expect((await run(folder.at('out'))).size).toBe(0);
      expect(await Bun.file(folder.at('out')).text()).toBe(whole);
    });

    test('that was cut off anywhere is completed, byte for byte', async () => {
      await using folder = await temporaryFolder();
      const bytes = Buffer.from(whole);
      await run(folder.at('out'));
      for (let length = 0; length <= bytes.length; length++) {
        await folder.write({ out: bytes.subarray(0, length) });
        await run(folder.at('out'));
        expect(await Bun.file(folder.at('out')).text()).toBe(whole);
      }
    });

    test('knows what was found out', async () => {
      await using folder = await temporaryFolder();
      await run(folder.at('out'));
      const recorded = await run(folder.at('out'));
      expect([...recorded]).toEqual(
        records
          .filter(({ error }) => error === undefined || format.name !== 'text')
          .map(({ file, category, code, error }) => [
            String(file),
            error === undefined
              ? { kind: 'answered', categories: category === null ? [] : [String(category)] }
              : { kind: 'broken', code: String(code), error: String(error) },
          ]),
      );
    });

    test.each([
      [
        { categories: ['cat', 'bird'] },
        'the category "a \\"dog\\",\\nor so" is missing now; the category "bird" is new.',
      ],
      [{ categories: asked.categories.toReversed() }, 'the categories are in another order.'],
      [{ paths_from: '/b' }, 'the paths of photos were relative to "/a" and are now relative to "/b".'],
      [{ paths_from: null }, 'the paths of photos were relative to "/a" and are now absolute.'],
      [{ templates: ['a {}'] }, '--template was not set and is now ["a {}"].'],
      [{ threshold: null, top_k: 3 }, '--threshold was 0.5 and is now not set; --top-k was 5 and is now 3.'],
    ])('of another question is refused, and left as it is: %j', async (change, sentence) => {
      await using folder = await temporaryFolder();
      await run(folder.at('out'));
      const before = await folder.read();
      const again = continueOutput(folder.at('out'), format, { ...asked, ...change });
      expect(again).rejects.toThrow(UsageError);
      expect(again).rejects.toThrow(
        `out has answers to another question: ${sentence} Use the earlier question and model to continue`,
      );
      await again.catch(() => undefined);
      expect(await folder.read()).toEqual(before);
    });

    test('of another model is refused before anything is written', async () => {
      await using folder = await temporaryFolder();
      await run(folder.at('out'));
      const before = await folder.read();
      await using output = await continueOutput(folder.at('out'), format, asked);
      await output.answeredBy({ ...model, name: 'by another path' });
      const other = output.answeredBy({ ...model, precision: 'int8' });
      expect(other).rejects.toThrow(
        'out has answers of another model: it was ViT-B/32, fp32 (sha256 40d365715913…) and is now ViT-B/32, int8',
      );
      await other.catch(() => undefined);
      expect(output.answeredBy({ ...model, sha256: 'f' })).rejects.toThrow(UsageError);
      expect(await folder.read()).toEqual(before);
    });

    test('whose question nobody knows any more is refused', async () => {
      await using folder = await temporaryFolder();
      await run(folder.at('out'));
      await folder.write({ 'out.question.json': '{"mine":1}' });
      expect(continueOutput(folder.at('out'), format, asked)).rejects.toThrow(
        'out.question.json exists and was not written by this command',
      );
      await rm(folder.at('out.question.json'));
      expect(continueOutput(folder.at('out'), format, asked)).rejects.toThrow(
        'out.question.json, which stores their question, is missing',
      );
    });

    test('without answers may be asked something else', async () => {
      await using folder = await temporaryFolder();
      for (const top_k of [1, 2]) {
        await using _ = await continueOutput(folder.at('out'), format, { ...asked, top_k });
      }
      expect(JSON.parse((await folder.read())['out.question.json'] ?? '')).toEqual({
        ...asked,
        top_k: 2,
        model: null,
      });
    });

    test('never takes another file for its own, and leaves it as it is', async () => {
      const others: (string | Uint8Array)[] = [
        'hello',
        'hello\n',
        '{"categories":["a"]}',
        'a,b\n1,2\n',
        Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16]),
        `${whole}hello\n`,
        ...Object.values(lineFormats)
          .filter((other) => other !== format)
          .map((other) => other.header(fileTable) + other.line(firstRecord, fileTable)),
      ];
      for (const other of others) {
        // A cut JSON line begins like this, and a cut CSV line may be anything.
        await using folder = await temporaryFolder();
        await folder.write({ out: other });
        const opening = continueOutput(folder.at('out'), format, asked);
        expect(opening).rejects.toThrow(`was not written by this command as ${format.name}`);
        await opening.catch(() => undefined);
        expect(Buffer.from(await Bun.file(folder.at('out')).bytes())).toEqual(Buffer.from(other));
      }
    });
  });
}

describe('an output that cannot be written', () => {
  test('is named with the reason', async () => {
    await using folder = await temporaryFolder();
    const opening = continueOutput(folder.path, lineFormats.json, asked);
    expect(opening).rejects.toThrow(UsageError);
    expect(opening).rejects.toThrow('is not a file');
    expect(continueOutput('/dev/zero', lineFormats.json, asked)).rejects.toThrow('/dev/zero is not a file');
    const missing = continueOutput(folder.at('none/out'), lineFormats.json, asked);
    expect(missing).rejects.toThrow('cannot be written, because it does not exist.');
  });
});

describe('answers that are all known at once', () => {
  const best = [{ category: 'cat', file: '1.jpg', score: 0.9, similarity: 0.3, scores: [] }];

  const write = async (path: string) => {
    await using reserved = await reserveOutput(path);
    await reserved.write(best, lineFormats.csv, bestFileTable);
  };

  test('make a file that is not there yet', async () => {
    await using folder = await temporaryFolder();
    await write(folder.at('out'));
    expect(await folder.read()).toEqual({ out: 'category,file,score,similarity\ncat,1.jpg,0.9,0.3\n' });
    expect(write(folder.at('out'))).rejects.toThrow('out already exists; name another file, or remove it.');
  });

  test('leave nothing behind when they are not known after all', async () => {
    await using folder = await temporaryFolder();
    {
      await using _ = await reserveOutput(folder.at('out'));
      expect(await folder.read()).toEqual({ out: '' });
    }
    expect(await folder.read()).toEqual({});
  });

  test('go where a run was killed that had reserved the name', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ out: '' });
    await write(folder.at('out'));
    expect(Object.keys(await folder.read())).toEqual(['out']);
  });
});

test('standard output begins with the header', async () => {
  const printed: string[] = [];
  const output = await openStandardOutput(
    async (text) => {
      printed.push(text);
    },
    lineFormats.csv,
    fileTable,
  );
  await output.write(firstRecord);
  expect(printed).toEqual(['file,category,score,similarity,code,error\n', 'p/1.jpg,cat,0.9,0.3,,\n']);
});
