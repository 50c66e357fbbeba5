import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { isPartName, parseShard, partName, shardOf } from '../../../src/cli/shards/shard.ts';

describe('the shard of a photo', () => {
  // Parts of different versions and machines must fit together: these values may never change. In Python:
  // int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big') % count
  test.each([
    ['photos/1.jpg', [0, 1, 0, 8836]],
    ['s3://bucket/photos/été 2019/IMG_0001.JPG', [1, 1, 3, 65455]],
    ['/data/a.tar', [1, 2, 1, 31562]],
    ['s3://bucket/train-000123.tar', [0, 0, 4, 45729]],
    ['a', [0, 1, 0, 53161]],
    ['../x.png', [0, 0, 8, 41466]],
    ['写真/猫.webp', [0, 2, 4, 91010]],
  ] as const)('%s', (name, expected) => {
    expect([2, 3, 10, 99_999].map((count) => shardOf(name, count))).toEqual([...expected]);
  });

  test('of a member is that of its tar file, by whatever names', () => {
    for (const archive of ['a.tar', 's3://b/x/a.tgz', '/d/A.TAR.GZ', 'dir.tar']) {
      fc.assert(
        fc.property(fc.string({ minLength: 1 }), fc.integer({ min: 1, max: 1000 }), (member, count) => {
          expect(shardOf(`${archive}/${member}`, count)).toBe(shardOf(archive, count));
        }),
      );
    }
    expect(shardOf('a.tar.jpg', 1000)).not.toBe(shardOf('a.tar', 1000));
  });

  test('spreads photos evenly', () => {
    const counts = [0, 0, 0, 0];
    for (let photo = 0; photo < 4000; photo++) {
      const shard = shardOf(`photos/${photo}.jpg`, 4);
      counts[shard] = (counts[shard] ?? 0) + 1;
    }
    // The standard deviation is 27.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe('--shard', () => {
  test('is I of N, from 0', () => {
    expect(parseShard('0/1')).toEqual({ index: 0, count: 1 });
    expect(parseShard('3/10')).toEqual({ index: 3, count: 10 });
    expect(parseShard('00/99999')).toEqual({ index: 0, count: 99_999 });
  });

  test.each(['', '1', '1/1', '4/4', '-1/4', '1/0', '0/100000', '1.5/4', 'a/b', '1/2/3'])(
    '%j is refused',
    (text) => {
      expect(() => parseShard(text)).toThrow('must be I/N, with I from 0 to N - 1');
    },
  );

  test('names its part', () => {
    const name = partName({ index: 3, count: 10 }, 'parquet');
    expect(name).toBe('part-00003-of-00010.parquet');
    expect(isPartName(name)).toBe(true);
    expect(isPartName(`_${name}.part`)).toBe(false);
  });
});
