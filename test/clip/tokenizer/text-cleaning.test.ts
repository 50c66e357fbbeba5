import { describe, expect, test } from 'bun:test';
import { cleanText } from '../../../src/clip/tokenizer/text-cleaning.ts';

// The expected texts are those of ftfy 6.3.1, html.unescape and str.lower of Python 3.11.
describe('cleanText', () => {
  test.each([
    ['folds white space', '  a \t\r\n\u00a0\u2003\u3000b\u1680', 'a b'],
    ['takes U+FEFF for no white space', '<a\ufeffb', '<ab'],
    ['removes control characters', 'b\x07e\x00l\x7fl\ufeff\ufffc', 'bell'],
    ['removes terminal colours', 'red\x1b[31;1m car\x1b[0m', 'red car'],
    ['reads C1 controls as Windows-1252', '\x93smart\x94\x85', '"smart"…'],
    ['straightens quotes', '‘a’ “b” ʼc', "'a' \"b\" 'c"],
    ['takes ligatures apart', 'ﬁne ﬂuﬃeﬆ ﬅop Ǆ ŉ Ĳ æ', "fine fluffiest ſtop dž 'n ij æ"],
    ['brings forms to their usual width', 'ＬＯＵＤ　ＮＯＩＳＥ ﾊﾟ', 'loud noise パ'],
    ['composes characters', 'e\u0301te\u0301 \u1112\u1161\u11ab', 'été 한'],
    ['keeps joiners and marks', '👩\u200d👧 🏳\ufe0f', '👩\u200d👧 🏳\ufe0f'],
    ['lowers a final sigma', 'ΟΔΥΣΣΕΥΣ Σ', 'οδυσσευς σ'],
    ['lowers a dotted capital i to two characters', 'İ', 'i\u0307'],
    ['lowers a capital sharp s', 'ẞ', 'ß'],
    ['leaves wrongly decoded text as it came', 'schÃ¶n', 'schã¶n'],
  ])('%s', (_, text, cleaned) => {
    expect(cleanText(text)).toBe(cleaned);
  });

  test.each([
    ['&eacute;t&eacute &copy', 'été ©'],
    ['&notit; &ampx', '¬it; &x'],
    ['P&EACUTE;REZ STRA&SZLIG;E &NTILDE;', 'pérez strasse ñ'],
    ['it&rsquo;s', "it's"],
    ['&#65;&#x42;&#X43&#68', 'abcd'],
    ['&#x80;&#146;&#0;', "€'\ufffd"],
    ['&#1;a&#xFFFF;b&#x7f;', 'ab'],
    ['&#xD800;&#x110000;&#99999999999999999999;', '\ufffd\ufffd\ufffd'],
    ['&amp;amp;amp;lt;', '<'],
    ['&unknown; & &; &#; &#x; AT&T', '&unknown; & &; &#; &#x; at&t'],
  ])('unescapes %s', (text, cleaned) => {
    expect(cleanText(text)).toBe(cleaned);
  });

  test('keeps curly what HTML escaped, from the first line on that has a tag', () => {
    expect(cleanText('&rsquo;\n<b>&rsquo;</b>\n&rsquo;')).toBe("' <b>’</b> ’");
  });

  test('unescapes hostile nesting only so far', () => {
    expect(cleanText(`&${'amp;'.repeat(12)}`)).toBe('&');
    expect(cleanText(`&${'amp;'.repeat(1000)}`).length).toBeGreaterThan(3000);
  });
});
