import { describe, expect, test } from 'bun:test';
import { CheckpointError, CheckpointFile } from '../../../src/clip/checkpoint/checkpoint.ts';
import { ZipArchive } from '../../../src/clip/checkpoint/zip-archive.ts';
import { littleEndian } from './pickle-writer.ts';
import { TemporaryFolder } from './temporary-folder.ts';
import { writeZip, type ZipOptions, type ZipRecord } from './zip-writer.ts';

const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const records: readonly ZipRecord[] = [
  { name: 'a/data.pkl', bytes: text('first') },
  { name: 'a/データ/0', bytes: text('second, longer') },
  { name: 'a/empty', bytes: new Uint8Array(0) },
];

/** Reads every entry of an archive of these bytes. */
function contents(bytes: Uint8Array): Record<string, string> {
  using folder = new TemporaryFolder();
  using file = new CheckpointFile(folder.write('archive.zip', bytes));
  const archive = new ZipArchive(file);
  expect(archive.find('nothing')).toBeUndefined();
  return Object.fromEntries(
    [...archive.names].map((name) => [name, new TextDecoder().decode(file.readRange(archive.find(name)!))]),
  );
}

const expected = { 'a/data.pkl': 'first', 'a/データ/0': 'second, longer', 'a/empty': '' };

/** Overwrites bytes, counted from the last place where `signature` stands. */
function patched(bytes: Uint8Array, signature: number, offset: number, replacement: number[]): Uint8Array {
  const copy = Buffer.from(bytes);
  const at = copy.lastIndexOf(Uint8Array.from(littleEndian(signature, 4)));
  expect(at).toBeGreaterThanOrEqual(0);
  copy.set(replacement, at + offset);
  return copy;
}

const ENTRY = 0x02014b50;
const END = 0x06054b50;
const ZIP64_END = 0x06064b50;
const ZIP64_LOCATOR = 0x07064b50;
const MOST = new Array<number>(8).fill(0xff);

test.each<[string, ZipOptions]>([
  ['plainly', {}],
  ['with 64-bit records', { zip64: true }],
  ['with contents on boundaries of 4096 bytes', { alignment: 4096 }],
  ['with a comment', { comment: 'made by hand' }],
])('entries written %s are found', (_, options) => {
  expect(contents(writeZip(records, options))).toEqual(expected);
});

describe('an archive is refused', () => {
  test.each<[string, Uint8Array, string]>([
    [
      'with a compressed entry',
      writeZip([{ ...records[0]!, compressed: true }]),
      '"a/data.pkl" is compressed',
    ],
    ['with an encrypted entry', writeZip([{ ...records[0]!, encrypted: true }]), '"a/data.pkl" is encrypted'],
    ['that names an entry twice', writeZip([records[0]!, records[0]!]), 'it names "a/data.pkl" twice'],
    ['without its end', writeZip(records).subarray(0, -1), 'is cut short, as after an interrupted download'],
    [
      'with more entries than it announces',
      patched(writeZip(records), END, 10, [1, 0]),
      'holds 3 entries instead of 1',
    ],
    [
      'with fewer entries than it announces',
      patched(writeZip(records), END, 10, [9, 0]),
      'holds 3 entries instead of 9',
    ],
    [
      'with a directory beyond its end',
      patched(writeZip(records), END, 16, littleEndian(2 ** 31, 4)),
      'beyond the end',
    ],
    [
      'with a directory that begins elsewhere',
      patched(writeZip(records), END, 16, [1, 0, 0, 0]),
      'no entry at its byte 0',
    ],
    [
      'with an incomplete entry',
      patched(writeZip(records), ENTRY, 28, [0xff, 0xff]),
      'its last entry is incomplete',
    ],
    [
      'with an entry beyond its end',
      patched(writeZip(records), ENTRY, 42, littleEndian(2 ** 31, 4)),
      'beyond the end of the file',
    ],
    [
      'with an entry that is not there',
      patched(writeZip(records), ENTRY, 42, [1, 0, 0, 0]),
      'has a wrong position for the entry',
    ],
    ['with an entry of two sizes', patched(writeZip(records), ENTRY, 20, [9, 0, 0, 0]), 'two sizes'],
    [
      'with an entry past its end',
      patched(writeZip(records), ENTRY, 20, [...littleEndian(9999, 4), ...littleEndian(9999, 4)]),
      'beyond the end of the file',
    ],
    [
      'with a 64-bit record at no position',
      patched(writeZip(records, { zip64: true }), ZIP64_LOCATOR, 8, MOST),
      'its position 18446744073709551615',
    ],
    [
      'with a 64-bit record elsewhere',
      patched(writeZip(records, { zip64: true }), ZIP64_LOCATOR, 8, littleEndian(0, 8)),
      '64-bit record is missing',
    ],
    [
      'with a directory at no position',
      patched(writeZip(records, { zip64: true }), ZIP64_END, 48, MOST),
      'its position 18446744073709551615',
    ],
    [
      'with entries without number',
      patched(writeZip(records, { zip64: true }), ZIP64_END, 32, MOST),
      'the number of entries',
    ],
    [
      'with a 64-bit size past all files',
      patched(writeZip(records, { zip64: true }), ENTRY, 46 + 7 + 4, MOST),
      'the size 18446744073709551615',
    ],
  ])('%s', (_, bytes, sentence) => {
    expect(() => contents(bytes)).toThrow(CheckpointError);
    expect(() => contents(bytes)).toThrow(sentence);
  });

  test('with a directory that would not fit into memory', () => {
    using folder = new TemporaryFolder();
    const entry = { signature: 0x02014b50, byteLength: 46 };
    const directory = Buffer.alloc(entry.byteLength * 400_000);
    for (let at = 0; at < directory.length; at += entry.byteLength)
      directory.writeUInt32LE(entry.signature, at);
    const end = Buffer.from(writeZip([]));
    end.writeUInt32LE(directory.length, 12);
    using file = new CheckpointFile(folder.write('archive.zip', Buffer.concat([directory, end])));
    expect(() => new ZipArchive(file)).toThrow('at most 16777216 are supported');
  });
});

test('an archive cut anywhere is refused', () => {
  const whole = writeZip(records, { zip64: true });
  for (let length = 0; length < whole.length; length++) {
    expect(() => contents(whole.subarray(0, length))).toThrow(CheckpointError);
  }
});
