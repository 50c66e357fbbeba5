import type { Random } from '../random.ts';
import { mutate } from './mutate.ts';

const labels = [
  'red',
  'a photo of a dog',
  'grün',
  '猫',
  '🦊',
  'a "quoted" one',
  'semi;colon',
  'tab\there',
  "it's",
];

/** Sound documents of every kind that is accepted. */
const sound: readonly ((labels: readonly string[]) => string)[] = [
  (labels) => JSON.stringify({ categories: labels }),
  (labels) => JSON.stringify(labels, undefined, 2),
  (labels) => labels.map((label) => `"${label.replaceAll('"', '""')}"`).join(','),
  (labels) => labels.map((label) => `"${label.replaceAll('"', '""')}"`).join(';'),
  (labels) => labels.join('\t'),
  (labels) => labels.join('\r\n'),
];

/** Strings that have broken parsers, tokenizers and people who trust property names. */
const nasty = [
  '',
  ' ',
  '\0',
  '\ufeff',
  '\u2028',
  '\ud800',
  '\udfff\ud800',
  '\u202e',
  '\u0301'.repeat(50),
  'ﷺ'.repeat(20),
  '&amp;'.repeat(20),
  '&#x110000;&#0;&lt;&notanentity;',
  '__proto__',
  'constructor',
  'toString',
  '$&',
  '{}',
  '{{}}',
  '<|startoftext|><|endoftext|>',
  "'; DROP TABLE labels; --",
  '../../etc/passwd',
  'e\u0301'.repeat(30),
  'ß'.repeat(40),
  'İ',
  '\\',
  '"',
  '",',
  '[',
  '{"categories":',
  'null',
  '1e999',
  'x'.repeat(300),
  'word '.repeat(100),
] as const;

const wholes: readonly ((random: Random) => Uint8Array)[] = [
  () => Buffer.from('['.repeat(100_000)),
  () => Buffer.from(`${'{"categories":'.repeat(20_000)}[]`),
  () => Buffer.from(`{"categories":[${'"a",'.repeat(5000)}"b"]}`),
  () => Buffer.from(Array.from({ length: 1001 }, (_, index) => `label ${index}`).join('\n')),
  () => Buffer.from(','.repeat(200_000)),
  () => Buffer.from('"'.repeat(99_999)),
  () => Buffer.from('a'.repeat(1_000_000)),
  () => Buffer.from('\r\n'.repeat(100_000)),
  () => Buffer.from('{"categories":["a"],"categories":["b"]}'),
  () => Buffer.from('{"categories":{"0":"a","length":1}}'),
  () => Buffer.from('{"__proto__":{"categories":["a"]}}'),
  () => Buffer.from('["a", "a", "A", " a ", "a\\u0000"]'),
  () => Buffer.from('[1, true, null, {}, []]'),
  () => Buffer.from('// comment\n["a"]'),
  () => Buffer.from('["a",]'),
  () => Buffer.from('["\\ud800", "\\u0000"]'),
  () => Buffer.from('["red","green"]', 'utf16le'),
  () => Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('red,green', 'utf16le')]),
  () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from('red,green')]),
  () => Buffer.from('rouge,ver\xe9,bleu', 'latin1'),
  () => Buffer.from(Bun.gzipSync(Buffer.from('red,green'))),
  () => Buffer.from('%PDF-1.7 red,green'),
  () => Buffer.from('PK\x03\x04red,green', 'latin1'),
  (random) => Uint8Array.from({ length: 1 + random.below(5000) }, () => random.below(256)),
  (random) => Buffer.alloc(1 + random.below(100_000), random.below(256)),
];

/** A document that may be sound, or nearly, or nothing of the kind. */
export function hostileDocument(random: Random): Uint8Array {
  if (random.chance(0.1)) return random.pick(wholes)(random);
  const chosen = Array.from({ length: 1 + random.below(8) }, () =>
    random.chance(0.4) ? random.pick(nasty) : random.pick(labels),
  );
  const document = Buffer.from(random.pick(sound)(chosen));
  if (document.length === 0 || random.chance(0.25)) return document;
  return mutate(document, random);
}
