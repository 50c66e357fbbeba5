import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { readKeywords, removeKeywords, writeKeywords, XmpError } from '../../../src/cli/keywords/xmp.ts';

const RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"';
const DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"';
const LR = 'xmlns:lr="http://ns.adobe.com/lightroom/1.0/"';
const DIGIKAM = 'xmlns:digiKam="http://www.digikam.org/ns/1.0/"';

const inRdf = (content: string) =>
  `<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core">\n <rdf:RDF ${RDF}>\n  ${content}\n </rdf:RDF>\n</x:xmpmeta>\n`;

/** Documents as programs write them. */
const documents: Readonly<Record<string, string>> = {
  darktable: `<?xml version="1.0" encoding="UTF-8"?>\n${inRdf(`<rdf:Description rdf:about=""
    xmlns:darktable="http://darktable.sf.net/" ${DC} ${LR}
   darktable:xmp_version="5"
   darktable:history_end="2">
   <darktable:history>
    <rdf:Seq>
     <rdf:li darktable:num="0" darktable:params="gz03eJxjYGBg" darktable:operation='exposure'/>
    </rdf:Seq>
   </darktable:history>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>darktable|exported</rdf:li>
     <rdf:li>Frühling &amp; Ostern</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject><rdf:Seq><rdf:li>darktable|exported</rdf:li><rdf:li>Frühling &amp; Ostern</rdf:li></rdf:Seq></lr:hierarchicalSubject>
  </rdf:Description>`)}`,
  'Lightroom, in a packet with padding': `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\r\n${inRdf(
    '<rdf:Description rdf:about=""\n    xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n   xmp:Rating="4" xmp:Label="a > b"/>',
  )}${' '.repeat(99)}\r\n<?xpacket end="w"?>`,
  'digiKam, with a comment and an unknown property': inRdf(
    `<!-- ours --><rdf:Description rdf:about="" ${DC} ${DIGIKAM} xmlns:u="urn:unknown#"><u:x u:y='1'><!-- in --><![CDATA[<&>]]></u:x><dc:subject><rdf:Bag><rdf:li>Rex</rdf:li></rdf:Bag></dc:subject><digiKam:TagsList><rdf:Seq><rdf:li>Animals/Rex</rdf:li></rdf:Seq></digiKam:TagsList></rdf:Description>`,
  ),
  'ExifTool, with empty lines': inRdf(
    "<rdf:Description rdf:about=''\n  xmlns:tiff='http://ns.adobe.com/tiff/1.0/'>\n  <tiff:ImageWidth>64</tiff:ImageWidth>\n </rdf:Description>",
  ).replace(/\n +<rdf:D/, '\n\n <rdf:D'),
  'another prefix of RDF, and a byte order mark': `\ufeff<m:xmpmeta xmlns:m="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="uuid:1"/></r:RDF></m:xmpmeta>`,
  'RDF as the default namespace':
    '<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><Description rdf:about=""/></RDF>',
  'two descriptions': inRdf(
    `<rdf:Description rdf:about="" xmlns:a="urn:a#" a:b="c"/>\n  <rdf:Description rdf:about="" ${DC}>\n   <dc:subject>\n    <rdf:Bag>\n     <rdf:li>sea</rdf:li>\n    </rdf:Bag>\n   </dc:subject>\n  </rdf:Description>`,
  ),
};

const write = (
  text: string | undefined,
  keywords: readonly string[],
  embedded = new Map<string, string[]>(),
) => writeKeywords(text, { keywords, candidates: ['dog', 'cat', 'a|b/c'], embedded }) ?? '';

const subjects = (text: string) => readKeywords(text).get('subject');

describe('keywords in an XMP document', () => {
  for (const [program, document] of Object.entries(documents)) {
    test(`are added and removed without a trace: ${program}`, () => {
      const before = readKeywords(document);
      const written = write(document, ['dog']);
      expect(subjects(written)).toEqual([...(before.get('subject') ?? []), 'dog']);
      expect(readKeywords(written).get('hierarchicalSubject')?.at(-1)).toBe('dog');
      expect(write(written, ['dog'])).toBe(written);
      expect(removeKeywords(written)).toEqual({ text: document, removed: ['dog'] });
    });
  }

  test('are written without empty lines', () => {
    const { 'ExifTool, with empty lines': exiftool = '' } = documents;
    expect(write(exiftool, ['dog']).match(/\n\n/g)).toHaveLength(1);
  });

  test('keep all else as it was, to the byte', () => {
    const { darktable = '' } = documents;
    const lines = new Set(write(darktable, ['dog']).split('\n'));
    const changed = darktable.split('\n').filter((line) => !lines.has(line));
    // Only the list that is on one line.
    expect(changed.map((line) => line.trim().slice(0, 23))).toEqual(['<lr:hierarchicalSubject']);
    expect([...lines].filter((line) => line.includes('>dog<'))).toContain('     <rdf:li>dog</rdf:li>');
  });

  test('go into every list that programs look at first, and into no other', () => {
    const digikam = write(documents['digiKam, with a comment and an unknown property'], ['dog']);
    expect(Object.fromEntries(readKeywords(digikam))).toEqual({
      subject: ['Rex', 'dog'],
      // A new list has what the program read before.
      hierarchicalSubject: ['Rex', 'dog'],
      TagsList: ['Animals/Rex', 'dog'],
    });
    expect([...readKeywords(write(undefined, ['dog'])).keys()]).toEqual(['subject', 'hierarchicalSubject']);
  });

  test('in the photo itself are in the new lists, too, and leave with the answers', () => {
    const embedded = new Map([
      ['subject', ['dog', 'Rex']],
      ['hierarchicalSubject', ['dog', 'Animals|Rex']],
    ]);
    const written = write(undefined, ['dog'], embedded);
    expect(written).toBe('');
    const cat = write(undefined, ['cat'], embedded);
    expect(Object.fromEntries(readKeywords(cat))).toEqual({
      subject: ['dog', 'Rex', 'cat'],
      hierarchicalSubject: ['dog', 'Animals|Rex', 'cat'],
    });
    // An answer that the photo had itself is not replaced by the next one.
    expect(subjects(write(cat, ['a|b/c'], embedded))).toEqual(['dog', 'Rex', 'a|b/c']);
    expect(removeKeywords(cat)).toEqual({ text: undefined, removed: ['cat'] });
    expect(write(cat, [], embedded)).not.toContain('Rex');
  });

  test('of an earlier answer are replaced, those of other questions and persons are not', () => {
    const own = write(documents['two descriptions'], ['dog']);
    const other = writeKeywords(own, { keywords: ['indoors'], candidates: ['indoors'], embedded: new Map() });
    expect(subjects(other ?? '')).toEqual(['sea', 'dog', 'indoors']);
    const changed = write(other, ['cat']);
    expect(subjects(changed)).toEqual(['sea', 'indoors', 'cat']);
    expect(subjects(write(changed, []))).toEqual(['sea', 'indoors']);
    const theirs = write(documents['two descriptions']?.replace('sea', 'dog'), ['dog']);
    expect(subjects(write(theirs, ['cat']))).toEqual(['dog', 'cat']);
    expect(removeKeywords(theirs).text).toContain('<rdf:li>dog</rdf:li>');
  });

  test('that the person has removed by hand stay removed', () => {
    const { darktable = '' } = documents;
    const written = write(darktable, ['dog']).replace(/\s+<rdf:li>dog<\/rdf:li>/, '');
    expect(subjects(written)).toEqual(subjects(darktable));
    expect(removeKeywords(written)).toEqual({ text: darktable, removed: [] });
  });

  test('are one level in lists of a hierarchy', () => {
    const { digikam } = { digikam: documents['digiKam, with a comment and an unknown property'] };
    const lists = readKeywords(write(digikam, ['a|b/c']));
    expect([...lists.values()].map((items) => items.at(-1))).toEqual(['a|b/c', 'a/b/c', 'a|b|c']);
  });

  const others: readonly [structure: string, description: string, expected: string[]][] = [
    ['an attribute', `<rdf:Description rdf:about="" ${DC} dc:subject="sea" dc:format='x'/>`, ['sea', 'dog']],
    [
      'a simple value',
      `<rdf:Description ${DC}><dc:subject> sea </dc:subject></rdf:Description>`,
      ['sea', 'dog'],
    ],
    [
      'an empty list',
      `<rdf:Description ${DC}><dc:subject><rdf:Bag/></dc:subject></rdf:Description>`,
      ['dog'],
    ],
    ['an empty property', `<rdf:Description ${DC}><dc:subject/></rdf:Description>`, ['dog']],
    [
      'an alternative',
      `<rdf:Description ${DC}><dc:subject><rdf:Alt><rdf:li xml:lang="x-default">sea</rdf:li></rdf:Alt></dc:subject></rdf:Description>`,
      ['sea', 'dog'],
    ],
    [
      'numbered items',
      `<rdf:Description ${DC}><dc:subject><rdf:Bag><rdf:_1>sea</rdf:_1></rdf:Bag></dc:subject></rdf:Description>`,
      ['sea', 'dog'],
    ],
    ['nothing at all', '', ['dog']],
  ];
  for (const [structure, description, expected] of others) {
    test(`are added to ${structure}`, () => {
      const written = write(inRdf(description), ['dog']);
      expect(subjects(written)).toEqual(expected);
      if (structure === 'an attribute') expect(written).toContain(`dc:format='x'>`);
      const { text = '' } = removeKeywords(written);
      expect(subjects(text) ?? []).toEqual(expected.filter((item) => item !== 'dog'));
      expect(text).not.toContain('classify');
    });
  }

  const refused: readonly [document: string, sentence: string][] = [
    ['<x:xmpmeta xmlns:x="adobe:ns:meta/">', 'not well-formed'],
    ['', 'not well-formed'],
    ['<a/><b/>', 'not well-formed'],
    ['<p:a/>', 'the prefix of p:a is not declared'],
    ['<html/>', 'It is XML, but not XMP.'],
    [`${'<a>'.repeat(50_000)}${'</a>'.repeat(50_000)}`, 'nested too deeply'],
    ['<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 'not well-formed'],
    [
      inRdf(`<rdf:Description ${DC}><dc:subject rdf:parseType="Resource"/></rdf:Description>`),
      'Its property dc:subject is not a list.',
    ],
  ];
  for (const [document, sentence] of refused) {
    test(`are refused: ${sentence} ${document.slice(0, 20)}`, () => {
      expect(() => write(document, ['dog'])).toThrow(XmpError);
      expect(() => write(document, ['dog'])).toThrow(sentence);
    });
  }

  test('of any characters survive', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (keyword) => {
        const written = writeKeywords(undefined, {
          keywords: [keyword],
          candidates: [],
          embedded: new Map(),
        });
        const expected = keyword
          .toWellFormed()
          .normalize('NFC')
          .replace(/[\p{Cc}\ufffe\uffff\s]+/gu, ' ')
          .trim();
        if (expected === '') return;
        expect(subjects(written ?? '')).toEqual([expected]);
        expect(removeKeywords(written ?? '').text).toBeUndefined();
      }),
      { numRuns: 30 },
    );
  });
});
