import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { bestFileTable, fileTable, lineFormats, withColumns } from '../../../src/cli/output/line-format.ts';
import { splitRecords } from '../../../src/cli/output/output.ts';

const { text, json, csv } = lineFormats;
const answered = { file: 'a "b",\n.jpg', category: 'x, y', score: 0.5, similarity: 0.25, scores: [] };
const broken = { file: 'b.jpg', code: 'image_broken', error: 'It is broken.' };
const undecided = { file: 'c.jpg', category: null, score: 0.1, similarity: 0.05, scores: [] };

describe('answers as text', () => {
  test('are category, tab, file; broken files are left to standard error', () => {
    expect([answered, broken, undecided].map((record) => text.line(record, fileTable))).toEqual([
      'x, y\ta "b",\\n.jpg\n',
      '',
      '-\tc.jpg\n',
    ]);
  });

  test('may end in where a file would go', () => {
    const table = withColumns(fileTable, ['to']);
    expect(text.line({ ...undecided, to: null }, table)).toBe('-\tc.jpg\t-\n');
    expect(text.line({ ...answered, file: 'a', to: 'd/x, y/a' }, table)).toBe('x, y\ta\td/x, y/a\n');
  });
});

test('answers as JSON are one object a line', () => {
  expect(json.line(answered, fileTable)).toBe(
    '{"file":"a \\"b\\",\\n.jpg","category":"x, y","score":0.5,"similarity":0.25,"scores":[]}\n',
  );
  expect(json.header(fileTable)).toBe('');
});

test('answers as CSV are a table with a header', () => {
  const lines = [answered, broken, undecided].map((record) => csv.line(record, fileTable));
  expect(csv.header(fileTable) + lines.join('')).toBe(
    'file,category,score,similarity,code,error\n' +
      '"a ""b"",\n.jpg","x, y",0.5,0.25,,\n' +
      'b.jpg,,,,image_broken,It is broken.\n' +
      'c.jpg,,0.1,0.05,,\n',
  );
  expect(csv.header(bestFileTable)).toBe('category,file,score,similarity\n');
});

test('nothing in CSV is a formula for a spreadsheet, and numbers stay numbers', () => {
  const record = {
    file: '=cmd|x!A1.jpg',
    category: '@cat',
    score: 0.5,
    similarity: -0.25,
    code: '-',
    error: '+1 is bad.',
  };
  const line = csv.line(record, fileTable);
  expect(line).toBe("'=cmd|x!A1.jpg,'@cat,0.5,-0.25,'-,'+1 is bad.\n");
  expect(csv.parse(line.trimEnd(), fileTable)).toEqual({ ...record, score: '0.5', similarity: '-0.25' });
});

describe('records', () => {
  for (const format of Object.values(lineFormats)) {
    test(`are found and read back, wherever the chunks end (${format.name})`, async () => {
      const mark = fc.constantFrom('', '\ufeff', '=', "'=", "''-", "'", ' +', '\t', '＝');
      const word = fc
        .tuple(mark, fc.string({ unit: 'binary', minLength: 1 }))
        .map((texts) => texts.join('').toWellFormed());
      const record = fc.record({ file: word, category: word, score: fc.double({ min: 0, max: 1 }) });
      await fc.assert(
        fc.asyncProperty(fc.array(record), fc.integer({ min: 1, max: 40 }), async (records, size) => {
          const written = records.map((one) => ({ ...one, similarity: 0, code: '', error: '' }));
          const bytes = Buffer.from(written.map((one) => format.line(one, fileTable)).join(''));
          async function* chunks() {
            // Streams may reuse a buffer.
            const chunk = Buffer.alloc(size);
            for (let at = 0; at < bytes.length; at += size) {
              yield chunk.subarray(0, bytes.copy(chunk, 0, at, at + size));
            }
          }
          const split = await Array.fromAsync(splitRecords(chunks(), format.isQuoted));
          const found = split.map((one) => format.parse(one.text, fileTable));
          expect(found.map((one) => [one?.file, one?.category])).toEqual(
            written.map(({ file, category }) => [file, category]),
          );
          expect(split.at(-1)?.end ?? 0).toBe(bytes.length);
        }),
      );
    });
  }

  test('are not read where they are something else', () => {
    expect(json.parse('[1]', fileTable)).toBeUndefined();
    expect(json.parse('{"file":', fileTable)).toBeUndefined();
    expect(csv.parse('a,b', fileTable)).toBeUndefined();
    expect(csv.parse('"a', fileTable)).toBeUndefined();
    expect(text.parse('no tab', fileTable)).toBeUndefined();
  });
});
