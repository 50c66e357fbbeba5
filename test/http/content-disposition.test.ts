import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { parseContentDisposition } from '../../src/http/content-disposition.ts';

const filenameOf = (line: string) => parseContentDisposition(line)?.filename;

describe('a part’s disposition', () => {
  test('names the field, and has no file name for plain fields', () => {
    expect(parseContentDisposition('form-data; name="categories"')).toEqual({
      name: 'categories',
      filename: undefined,
    });
  });

  test('tells an empty file name from none', () => {
    expect(filenameOf('form-data; name="files"; filename=""')).toBe('');
  });

  const accepted: [string, string, string][] = [
    ['plain', 'filename="a.jpg"', 'a.jpg'],
    ['without quotes', 'filename=a.jpg', 'a.jpg'],
    ['UTF-8', 'filename="写真 🐈 é.jpg"', '写真 🐈 é.jpg'],
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
    ['another type', 'attachment; name="files"'],
    ['a type that only begins right', 'form-datax; name="files"'],
    ['no name', 'form-data; filename="a.jpg"'],
    ['an open quote', 'form-data; name="files'],
    ['words after a quoted value', 'form-data; name="files" x; filename="a"'],
    ['an extended name of half a byte', "form-data; name=files; filename*=utf-8''%E"],
    ['an extended name that is not UTF-8', "form-data; name=files; filename*=utf-8''%E9"],
    ['an extended name of another charset', "form-data; name=files; filename*=koi8-r''a"],
    ['an extended name without charset', 'form-data; name=files; filename*=a.jpg'],
    ['nothing', ''],
  ])('breaks the grammar: %s', (_, line) => {
    expect(parseContentDisposition(line)).toBeUndefined();
  });

  test('whatever a browser sends comes out as the file is called', () => {
    const asBrowsersDo = (name: string) =>
      name.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
    // What neither browsers nor anybody else can tell apart once it is written.
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
        const parsed = parseContentDisposition(`form-data;${words.join('')}`);
        expect(parsed === undefined || typeof parsed.name === 'string').toBe(true);
      }),
    );
  });
});
