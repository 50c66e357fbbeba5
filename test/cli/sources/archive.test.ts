import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { packTar, type TarHeader } from 'modern-tar';
import { readArchive } from '../../../src/cli/sources/archive.ts';

interface Entry {
  readonly name: string;
  readonly content: Uint8Array;
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

function pack(entries: readonly Entry[]): Promise<Uint8Array> {
  return packTar(
    entries.map(({ name, content }) => ({
      header: { name, size: content.length, type: 'file' },
      body: Uint8Array.from(content),
    })),
  );
}

async function* inChunks(archive: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < archive.length; start += chunkBytes) {
    yield archive.subarray(start, start + chunkBytes);
  }
}

interface Reading {
  readonly members: readonly {
    readonly name: string;
    readonly place: number;
    readonly text: string | undefined;
  }[];
  readonly fault: unknown;
}

async function read(
  archive: Uint8Array,
  {
    name = 'a.tar',
    chunkBytes = 700,
    maxBytes = 1e6,
    isWanted = (_place: number) => true,
  }: { name?: string; chunkBytes?: number; maxBytes?: number; isWanted?: (place: number) => boolean } = {},
): Promise<Reading> {
  const members: Reading['members'][number][] = [];
  try {
    for await (const { name: member, place, content } of readArchive(name, inChunks(archive, chunkBytes), {
      maxBytes,
      isWanted,
    })) {
      const bytes = await content?.read(content.size);
      members.push({ name: member, place, text: bytes && new TextDecoder().decode(bytes) });
    }
    return { members, fault: undefined };
  } catch (fault) {
    return { members, fault };
  }
}

const three = [1, 2, 3].map((number) => ({
  name: `d/${number}.jpg`,
  content: bytesOf(`${number}`.repeat(600)),
}));
const names = ({ members }: Reading) => members.map(({ name }) => name);
const messageOf = ({ fault }: Reading) =>
  fault instanceof Error ? `${fault.name}: ${fault.message}` : fault;

describe('a tar file', () => {
  test('has the members that a library wrote, wherever the chunks end', async () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 150 })
      .map((text) => `x${text.replaceAll(/[\0/]/g, '_').toWellFormed()}`);
    const entry = fc.record({ name, content: fc.uint8Array({ maxLength: 2000 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(entry, { maxLength: 5, selector: ({ name: itsName }) => itsName }),
        fc.integer({ min: 1, max: 3000 }),
        async (entries, chunkBytes) => {
          const { members, fault } = await read(await pack(entries), { chunkBytes });
          expect(fault).toBeUndefined();
          expect(members).toEqual(
            entries.map(({ name: itsName, content }, place) => ({
              name: `a.tar/${itsName}`,
              place,
              text: new TextDecoder().decode(content),
            })),
          );
        },
      ),
      { numRuns: 200 },
    );
  });

  test('may be compressed', async () => {
    const reading = await read(Bun.gzipSync(Uint8Array.from(await pack(three))), { name: 's3://b/a.tgz' });
    expect(names(reading)).toEqual([1, 2, 3].map((number) => `s3://b/a.tgz/d/${number}.jpg`));
    expect(reading.fault).toBeUndefined();
  });

  test('gives a member that is too long with its beginning, and passes over what is not wanted', async () => {
    const archive = await pack([{ name: '0.jpg', content: new Uint8Array(100_000).fill(65) }, ...three]);
    const { members } = await read(archive, { maxBytes: 1000, isWanted: (place) => place !== 2 });
    expect(members.map(({ place, text = '' }) => [place, text.length])).toEqual([
      [0, expect.any(Number)],
      [1, 600],
      [3, 600],
    ]);
    expect(members[0]?.text?.length).toBeLessThan(5000);
  });

  test('has no folders, no hidden files, each name once, and links only if they are named like pictures', async () => {
    const header = (name: string, type: TarHeader['type'] = 'file'): { header: TarHeader } => ({
      header: { name, type, size: 0, ...(type === 'symlink' && { linkname: 'x' }) },
    });
    const archive = await packTar([
      header('d/', 'directory'),
      header('./d/._1.jpg'),
      header('.hidden/1.jpg'),
      header('./1.jpg'),
      header('/1.jpg'),
      header('1.jpg'),
      header('l.jpg', 'symlink'),
      header('l.txt', 'symlink'),
    ]);
    const { members, fault } = await read(archive);
    expect(fault).toBeUndefined();
    expect(members).toEqual([
      { name: 'a.tar/1.jpg', place: 3, text: '' },
      { name: 'a.tar/1.jpg#2', place: 4, text: '' },
      { name: 'a.tar/1.jpg#3', place: 5, text: '' },
      { name: 'a.tar/l.jpg', place: 6, text: undefined },
    ]);
  });
});

describe('a tar file that is broken', () => {
  test('gives every whole member, wherever it is cut off', async () => {
    const archive = await pack(three);
    // A header of 512 bytes and 600 bytes in two blocks each.
    const memberBytes = 512 + 1024;
    for (let length = 0; length < 3 * memberBytes + 512; length += 128) {
      const reading = await read(archive.subarray(0, length));
      expect(names(reading)).toEqual(
        three.slice(0, Math.floor(length / memberBytes)).map(({ name }) => `a.tar/${name}`),
      );
      const reason =
        length % memberBytes === 0 ? 'without its end mark: it is not complete.' : 'The tar file is cut off';
      expect(messageOf(reading)).toContain(reason);
    }
  });

  test.each([
    ['text', bytesOf('hello '.repeat(200)), 'This is not a tar file.'],
    ['compressed without the name', Bun.gzipSync(new Uint8Array(5000).map((_, at) => at)), 'is cut off.'],
  ])('%s', async (_, content, sentence) => {
    expect(messageOf(await read(content))).toContain(sentence);
  });

  test('in the middle: the members before are given', async () => {
    const archive = Uint8Array.from(await pack(three));
    archive[512 + 1024 + 3] = 1;
    const reading = await read(archive);
    expect(names(reading)).toEqual(['a.tar/d/1.jpg']);
    expect(messageOf(reading)).toBe(
      'ArchiveError: The tar file is damaged after a.tar/d/1.jpg: no valid header follows.',
    );
  });

  test('with another archive behind it: nothing is lost in silence', async () => {
    const archive = await pack(three);
    const reading = await read(Buffer.concat([archive, archive]));
    expect(names(reading).length).toBe(3);
    expect(messageOf(reading)).toContain('has more after a.tar/d/3.jpg, behind its end mark.');
  });

  test('compressed and cut off, or not compressed', async () => {
    const archive = Uint8Array.from(await pack(three));
    const cut = await read(Bun.gzipSync(archive).slice(0, -20), { name: 'a.tar.gz' });
    expect(messageOf(cut)).toContain('ArchiveError: The file cannot be decompressed as gzip to its end');
    expect(messageOf(await read(archive, { name: 'a.tgz' }))).toContain('cannot be decompressed');
  });

  test('takes no more memory than it has bytes, whatever it declares', async () => {
    const archive = Uint8Array.from(await pack([{ name: '1.jpg', content: bytesOf('x') }]));
    const header = archive.subarray(0, 512);
    // 2^52 bytes, in the notation of GNU.
    header.fill(0, 124, 136);
    header[124] = 0x80;
    header[129] = 0x10;
    header.fill(0x20, 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.set(bytesOf(`${sum.toString(8).padStart(6, '0')}\0 `), 148);
    const reading = await read(archive, { maxBytes: Number.MAX_SAFE_INTEGER });
    expect(messageOf(reading)).toBe('ArchiveError: The tar file is cut off.');
    header[156] = 'x'.charCodeAt(0);
    header.fill(0x20, 148, 156);
    header.set(
      bytesOf(
        `${header
          .reduce((total, byte) => total + byte, 0)
          .toString(8)
          .padStart(6, '0')}\0 `,
      ),
      148,
    );
    expect(messageOf(await read(archive))).toBe(
      'ArchiveError: The tar file is damaged: a name has 4503599627370496 bytes.',
    );
  });

  test('mutated in any way ends, with members that were there or a fault', async () => {
    const archive = await pack(three);
    const change = fc.tuple(fc.nat(archive.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
        const mutated = Uint8Array.from(archive);
        for (const [at, byte] of changes) mutated[at] = byte;
        const { members, fault } = await read(mutated);
        if (fault !== undefined) expect(fault).toHaveProperty('name', 'ArchiveError');
        expect(members.length).toBeLessThanOrEqual(3);
      }),
      { numRuns: 300 },
    );
  });

  test('what the source throws is thrown, compressed or not', async () => {
    const archive = Uint8Array.from(await pack(three));
    for (const [name, content] of [['a.tar', archive] as const, ['a.tgz', Bun.gzipSync(archive)] as const]) {
      const source = async function* () {
        yield content.subarray(0, 100);
        throw new TypeError('the disk is gone');
      };
      const members = readArchive(name, source(), { maxBytes: 1000, isWanted: () => true });
      const reading = (async () => {
        for await (const { place } of members) expect(place).toBeLessThan(3);
      })();
      await expect(reading).rejects.toThrow(new TypeError('the disk is gone'));
    }
  });
});
