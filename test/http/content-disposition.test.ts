import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseContentDisposition } from '../../src/http/multipart.ts';

/** A line in UTF-8, as Latin-1 like the reader passes it. */
const parse = (line: string | Buffer) =>
  parseContentDisposition(Buffer.from(line as string).toString('latin1'));
const filenameOf = (line: string | Buffer) => {
  const parsed = parse(line);
  return 'fault' in parsed ? parsed : parsed.filename;
};

describe('a part’s disposition', () => {
  test('names the field, and has no file name for plain fields', () => {
    expect(parse('form-data; name="categories"')).toEqual({
      name: 'categories',
      filename: undefined,
      filenameFault: undefined,
    });
  });

  test('tells an empty file name from none', () => {
    expect(filenameOf('form-data; name="files"; filename=""')).toBe('');
  });

  const accepted: [string, string, string][] = [
    ['plain', 'filename="a.jpg"', 'a.jpg'],
    ['without quotes', 'filename=a.jpg', 'a.jpg'],
    ['UTF-8', 'filename="写真 🐈 é.jpg"', '写真 🐈 é.jpg'],
    ['UTF-8 without quotes, with a byte that is a space in Latin-1', 'filename=voilà.jpg', 'voilà.jpg'],
    ['a byte order mark, kept', 'filename="\ufeffa.jpg"', '\ufeffa.jpg'],
    ['folders, kept', 'filename="../a/b.jpg"', '../a/b.jpg'],
    ['a Windows path, kept', 'filename="C:\\temp\\new.jpg"', 'C:\\temp\\new.jpg'],
    ['a semicolon and an equals sign', 'filename="a;b=c.jpg"', 'a;b=c.jpg'],
    ['quotes as browsers write them', 'filename="a%22b%22.jpg"', 'a"b".jpg'],
    ['line breaks as browsers write them', 'filename="a%0D%0ab.jpg"', 'a\r\nb.jpg'],
    ['other percent signs, which browsers leave alone', 'filename="100%25%41%zz.jpg"', '100%25%41%zz.jpg'],
    ['quotes and backslashes as curl wrote them', 'filename="a\\"b\\\\c.jpg"', 'a"b\\c.jpg'],
    ['an extended name', "filename*=UTF-8''na%C3%AFve%20x.jpg", 'naïve x.jpg'],
    ['an extended name beside a plain one', `filename="x"; filename*=utf-8'en'%E2%82%AC.jpg`, '€.jpg'],
    ['an extended name in Latin-1', "filename*=ISO-8859-1''%E9.jpg", 'é.jpg'],
    ['any letter case of the words', 'FileName="a.jpg"', 'a.jpg'],
    ['spaces and a last semicolon', ' filename = "a.jpg" ; ', 'a.jpg'],
    ['a zero byte, for others to judge', "filename*=utf-8''a%00b", 'a\0b'],
  ];
  test.each(accepted)('file name: %s', (_, parameter, expected) => {
    expect(filenameOf(`form-data; name="files"; ${parameter}`)).toBe(expected);
  });

  test.each([
    ['another type', 'attachment; name="files"', 'a part needs one header like'],
    ['a type that only begins right', 'form-datax; name="files"', 'a part needs one header like'],
    ['no name', 'form-data; filename="a.jpg"', 'a part has no name'],
    ['an open quote', 'form-data; name="files', 'a part needs one header like'],
    ['words after a quoted value', 'form-data; name="files" x; filename="a"', 'a part needs one header like'],
    ['nothing', '', 'a part needs one header like'],
    ['an extended name of half a byte', "form-data; name=files; filename*=utf-8''%E", `"utf-8''%E"`],
    ['an extended name of no byte', "form-data; name=files; filename*=utf-8''100%zz", `"utf-8''100%zz"`],
    ['an extended name that is not UTF-8', "form-data; name=files; filename*=utf-8''%E9", `"utf-8''%E9"`],
    ['an extended name of another charset', "form-data; name=files; filename*=koi8-r''a", `"koi8-r''a"`],
    ['an extended name without charset', 'form-data; name=files; filename*=a.jpg', '"a.jpg"'],
  ])('breaks the grammar: %s', (_, line, sentence) => {
    expect(parse(line)).toEqual({ fault: expect.stringContaining(sentence) });
  });

  const raw = (before: string, bytes: readonly number[], after: string) =>
    Buffer.concat([Buffer.from(`form-data; ${before}`), Buffer.from(bytes), Buffer.from(after)]);

  test.each<[string, Buffer, string, string]>([
    [
      'Latin-1',
      raw('name="files"; filename="B', [0xe4], 'r.png"'),
      'B\\xe4r.png',
      'byte 1, counted from 0, is 0xe4',
    ],
    ['after a character of two bytes', raw('name="files"; filename="é', [0xff], '"'), 'é\\xff', 'byte 2,'],
    ['a character cut off', raw('name="files"; filename="a', [0xe2, 0x82], '"'), 'a\\xe2\\x82', 'byte 1,'],
    [
      'half of a surrogate pair',
      raw('name="files"; filename="', [0xed, 0xa0, 0x80], '"'),
      '\\xed\\xa0\\x80',
      'byte 0,',
    ],
    [
      'a slash written in two bytes',
      raw('name="files"; filename="', [0xc0, 0xaf], '"'),
      '\\xc0\\xaf',
      'byte 0,',
    ],
  ])('a file name that is not UTF-8 is told by its bytes: %s', (_, line, readable, place) => {
    const parsed = parse(line);
    expect(parsed).toEqual({
      name: 'files',
      filename: readable,
      filenameFault: expect.stringContaining(place),
    });
    expect(parsed).toEqual({
      name: 'files',
      filename: readable,
      filenameFault: expect.stringContaining(`The file name "${readable}" is not valid UTF-8`),
    });
  });

  test('names that differ in bytes that are not UTF-8 are different', () => {
    const names = [0xe4, 0xf6, 0xfc].map((byte) =>
      filenameOf(raw('name="files"; filename="B', [byte], 'r.png"')),
    );
    expect(new Set(names).size).toBe(3);
  });

  test('an extended name counts, whatever the plain one is', () => {
    const line = raw('name="files"; filename="B', [0xe4], `r.png"; filename*=utf-8''B%C3%A4r.png`);
    expect(parse(line)).toEqual({ name: 'files', filename: 'Bär.png', filenameFault: undefined });
  });

  test('a field’s name that is not UTF-8 is no other field’s', () => {
    expect(parse(raw('name="files', [0xe4], '"'))).toMatchObject({ name: 'files\\xe4' });
  });

  test('whatever a browser sends comes out as the file is called', () => {
    const asBrowsersDo = (name: string) =>
      name.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
    // Encodings that are ambiguous, for browsers too.
    const isAmbiguous = (name: string) => /%22|%0[AD]|\\\\|\\"|\\$/i.test(name);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (name) => {
        fc.pre(!isAmbiguous(name));
        expect(filenameOf(`form-data; name="files"; filename="${asBrowsersDo(name)}"`)).toBe(name);
      }),
    );
  });

  test('any line is read or refused, never thrown at', () => {
    const word = fc.constantFrom(
      'form-data',
      ';',
      'name',
      '=',
      '"',
      '\\',
      "filename*=utf-8''",
      '%',
      'é',
      ' ',
      'a',
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 40 }), (words) => {
        const parsed = parse(`form-data;${words.join('')}`);
        expect(typeof ('fault' in parsed ? parsed.fault : parsed.name)).toBe('string');
      }),
    );
  });
});
