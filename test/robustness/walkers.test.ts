import { describe, expect, test } from 'bun:test';
import { parseCategories } from '../../src/classify/categories.ts';
import { createTokenizer } from '../../src/clip/tokenizer/tokenizer.ts';
import { ServiceError } from '../../src/errors.ts';
import { readPictureHeader } from '../../src/media/sniff.ts';
import { worstDocuments, worstLabels, worstPictures } from './hostile/walkers.ts';

/** Room for more pieces than any budget has. */
const PICTURE_BYTES = 24 * 1024 ** 2;

const accepted = Symbol('accepted');
type Outcome = typeof accepted | RegExp;

function outcomeOf(work: () => unknown): typeof accepted | string {
  try {
    work();
    return accepted;
  } catch (fault) {
    if (!(fault instanceof ServiceError)) throw fault;
    return `${fault.code}: ${fault.message}`;
  }
}

function expectOutcome(outcome: typeof accepted | string, expected: Outcome): void {
  if (typeof outcome === 'string' && expected instanceof RegExp) expect(outcome).toMatch(expected);
  else expect(outcome).toBe(expected as typeof accepted);
}

const tooManyMarkers = /^image_broken: The JPEG picture has more than 500000 markers and fill bytes\.$/;
const tooManyPngChunks = /^image_broken: The PNG picture has more than 100000 chunks\.$/;
const tooManyWebpChunks = /^image_broken: The WebP picture has more than 100000 chunks\.$/;
const tooManyGifPieces = /^image_broken: The GIF picture is made of too many blocks of a byte or two\.$/;
const tooManyPieces = /^image_broken: The AVIF picture has more than 100000 pieces of data\.$/;

describe('pictures full of the smallest pieces are refused for them, or read at once', () => {
  const outcomes: Record<string, Outcome> = {
    'JPEG segments of nothing': tooManyMarkers,
    'JPEG start markers': tooManyMarkers,
    'JPEG fill bytes': tooManyMarkers,
    'JPEG stray zeros': /^image_broken: The JPEG picture has no frame header\.$/,
    'JPEG pixels of FF 00': accepted,
    'JPEG pixels of restart markers': tooManyMarkers,
    'JPEG pixels of fill bytes': tooManyMarkers,
    'JPEG pixels of fill bytes and FF 00 in turns': accepted,
    'JPEG scans of 100 megapixels':
      /^image_too_large: The JPEG picture has 10000 × 10000 pixels in 100 scans, which take too long to decode; save it with fewer scans, or as a baseline JPEG\.$/,
    'PNG pixels in chunks of nothing': tooManyPngChunks,
    'PNG texts of nothing': tooManyPngChunks,
    'PNG pixels in one chunk': accepted,
    'PNG with EXIF again and again': /^image_broken: .* but only 0 bytes hold pixels\.$/,
    'PNG with short EXIF again and again': tooManyPngChunks,
    'WebP chunks of nothing': tooManyWebpChunks,
    'WebP with EXIF again and again': accepted,
    'WebP with short EXIF again and again': tooManyWebpChunks,
    'GIF comment in blocks of a letter': tooManyGifPieces,
    'GIF comments of nothing': tooManyGifPieces,
    'GIF pixels in blocks of a byte': tooManyGifPieces,
    'GIF transparent again and again': tooManyGifPieces,
    'TIFF tags of a million values':
      /^image_unsupported: The file is a camera’s raw picture \(DNG\) without a JPEG preview;/,
    'TIFF tags of half a million long values': accepted,
    'raw previews that all reach to the end':
      /^image_broken: The camera raw picture has a damaged preview\.$/,
    'TIFF strips by the half million': accepted,
    'TIFF with a long directory': /^image_broken: The TIFF picture has a directory of \d+ tags\.$/,
    'AVIF extents that take no bytes': tooManyPieces,
    'AVIF extents as many as fit': tooManyPieces,
    'AVIF items of no extents': accepted,
    'AVIF number without an end':
      /^image_broken: The AVIF picture is damaged: its AV1 stream has a number that is too long\.$/,
    'AVIF stream of many units':
      /^image_broken: The AVIF picture is damaged: its AV1 stream has too many units\.$/,
    'AVIF stream of the same header':
      /^image_broken: The AVIF picture is damaged: its AV1 stream has too many units\.$/,
    'AVIF pieces by the thousand': accepted,
    'AVIF associations as many as fit':
      /^image_broken: The AVIF picture does not describe its primary picture\.$/,
    'AVIF properties as many as may be': accepted,
    'AVIF with a long name of a plane': accepted,
    'AVIF boxes of nothing': /^image_broken: The AVIF picture has more than 10000 boxes in one place\.$/,
    'HEIC associations as many as fit': /^image_broken: The HEIC picture declares no size\.$/,
    'HEIC references as many as fit': accepted,
    'HEIC tiles by the thousand': accepted,
    'HEIC tiles of nothing':
      /^image_broken: The HEIC picture has 65535 tiles where 256 × 256 are declared\.$/,
    'HEIC items in items': /^image_broken: The HEIC picture has more than 100000 pieces of data\.$/,
    'HEIC tracks as many as fit': /^image_broken: The HEIC picture has no still picture\.$/,
    'brands as long as the file': /^image_unsupported: The file is of an unknown format;/,
    'a text as long as a picture': /^image_unsupported: The file is text;/,
  };

  test('every one of them is looked at', () => {
    expect(Object.keys(outcomes).sort()).toEqual(Object.keys(worstPictures).sort());
  });

  test.each(Object.entries(outcomes))('%s', (name, expected) => {
    const bytes = worstPictures[name]?.(PICTURE_BYTES) ?? new Uint8Array(0);
    expectOutcome(
      outcomeOf(() => readPictureHeader(bytes)),
      expected,
    );
  });

  test('of a list of brands the first thousand are looked at', () => {
    const brandsBefore = (count: number) =>
      Buffer.concat([Buffer.from([0, 1, 0, 0]), Buffer.from(`ftypzzzz\0\0\0\0${'abcd'.repeat(count)}crx `)]);
    expectOutcome(
      outcomeOf(() => readPictureHeader(brandsBefore(999))),
      /The file is a camera’s raw picture \(CR3\) without a JPEG preview;/,
    );
    expectOutcome(
      outcomeOf(() => readPictureHeader(brandsBefore(1000))),
      /The file is of an unknown format;/,
    );
  });
});

const tooManyEntries =
  /^categories_too_many: The categories document has more than 100000 entries, repeated ones included; at most 1000 categories are accepted\.$/;
const notJson = /^categories_malformed: The categories document starts as JSON but is not valid JSON/;
const missing = /^categories_missing: /;

describe('documents of four megabytes are refused for what they are full of, or read at once', () => {
  const outcomes: Record<string, Outcome> = {
    'a,a,…': tooManyEntries,
    'lines of a letter': tooManyEntries,
    'different labels': tooManyEntries,
    'different lines': tooManyEntries,
    'empty quotes': tooManyEntries,
    'quoted letters': tooManyEntries,
    commas: missing,
    semicolons: missing,
    tabs: missing,
    'tabs behind a letter': accepted,
    'line feeds': missing,
    'carriage returns': missing,
    blanks: missing,
    'blanks behind a letter': accepted,
    'blanks between letters': accepted,
    'blanks and tabs': accepted,
    'quotes only': accepted,
    'one quoted label of quotes': accepted,
    'quotes within a label': accepted,
    'a quote that never closes':
      /^categories_malformed: .* opens a double quote on line 1 and never closes it\./,
    'a quote that never closes, at the end': tooManyEntries,
    'a quote that closes amid its label': /^categories_malformed: .* on line 1\./,
    'long labels': accepted,
    'long quoted labels': accepted,
    'labels of forty letters': /^categories_too_many: 95577 categories came; at most 1000 are accepted\.$/,
    'quoted labels of forty letters': /^categories_too_many: 91422 categories came;/,
    'one label of letters': accepted,
    'references without an end': accepted,
    'references with an end': accepted,
    'line separators': accepted,
    'JSON strings of a letter': tooManyEntries,
    'JSON empty strings': tooManyEntries,
    'JSON different strings': tooManyEntries,
    'JSON strings of forty letters': /^categories_too_many: 91422 categories came;/,
    'JSON nested': tooManyEntries,
    'JSON nested and closed': tooManyEntries,
    'JSON objects nested': tooManyEntries,
    'JSON empty lists': tooManyEntries,
    'JSON objects': tooManyEntries,
    'JSON numbers': tooManyEntries,
    'JSON different keys': tooManyEntries,
    'JSON the same key': tooManyEntries,
    'JSON one long string': accepted,
    'JSON one string of escapes': accepted,
    'JSON blanks': accepted,
    'JSON with a fault at the end': tooManyEntries,
    'JSON of numbers with a fault at the end': tooManyEntries,
    'JSON of blanks with a fault at the end': notJson,
    'JSON of lines with a fault at the end': notJson,
    'JSON of symbols': notJson,
    'JSON comments': /line 1, column 2: invalid comment token\./,
    'JSON long string with a fault at the end': notJson,
    'JSON escapes with a fault at the end': notJson,
    'JSON brackets that close': /line 1, column 3: end of file expected\./,
    'replacement characters before a fault': /is not valid UTF-8 at byte 4194303;/,
    'invalid bytes': /is not valid UTF-8 at byte 1;/,
    'UTF-16 of letters': accepted,
    'UTF-16 of commas, big-endian': missing,
    'UTF-16 with half a pair at the end': /is not valid UTF-16 at byte 4194302\./,
    'control characters': tooManyEntries,
  };

  test('every one of them is looked at', () => {
    expect(Object.keys(outcomes).sort()).toEqual(Object.keys(worstDocuments).sort());
  });

  test.each(Object.entries(outcomes))('%s', (name, expected) => {
    const bytes = worstDocuments[name]?.() ?? new Uint8Array(0);
    expectOutcome(
      outcomeOf(() => parseCategories(bytes, 1000)),
      expected,
    );
  });
});

describe('long labels are too long before they are encoded', () => {
  const tokenizer = createTokenizer();

  test.each(Object.entries(worstLabels))('%s', (name, text) => {
    const outcome = outcomeOf(() => tokenizer.tokenize(text, 77));
    // Its zeros are one character's number, which shrinks to a letter.
    if (name === 'a number of a character') expect(outcome).toBe(accepted);
    else expect(outcome).toMatch(/^label_too_long: The label /);
  });
});
