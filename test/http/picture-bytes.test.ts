import { describe, expect, test } from 'bun:test';
import { readPicture } from '../../src/http/picture-bytes.ts';
import { createSemaphore } from '../../src/semaphore.ts';

const MEBI = 1024 ** 2;
const stay = new AbortController().signal;

/** So many chunks of a mebibyte each. */
async function* chunks(count: number) {
  for (let index = 0; index < count; index++) yield new Uint8Array(MEBI).fill(index);
}

describe('pictures that arrive', () => {
  test('small ones need no share, however few there are', async () => {
    const largePictures = createSemaphore(1);
    const taken = await largePictures.acquire();
    using picture = await readPicture(chunks(5), 10 * MEBI, largePictures, stay);
    expect(picture.bytes?.byteLength).toBe(5 * MEBI);
    expect(picture.bytes?.[4 * MEBI]).toBe(4);
    taken[Symbol.dispose]();
  });

  test('a large one stays with its client until another has been handed over', async () => {
    const largePictures = createSemaphore(1);
    const first = await readPicture(chunks(9), 10 * MEBI, largePictures, stay);
    let read = 0;
    const counted = async function* () {
      for await (const chunk of chunks(9)) {
        read += 1;
        yield chunk;
      }
    };
    const second = readPicture(counted(), 10 * MEBI, largePictures, stay);
    await Bun.sleep(5);
    expect(read).toBe(7);
    first[Symbol.dispose]();
    using arrived = await second;
    expect(arrived.bytes?.byteLength).toBe(9 * MEBI);
  });

  test('one that is too large, one that breaks off and a client that leaves give their shares back', async () => {
    const largePictures = createSemaphore(1);
    {
      using tooLarge = await readPicture(chunks(9), 8 * MEBI, largePictures, stay);
      expect(tooLarge.bytes).toBeUndefined();
    }
    expect(largePictures.used).toBe(0);
    const breaking = async function* () {
      yield* chunks(9);
      throw new Error('broke off');
    };
    const fault = await readPicture(breaking(), 10 * MEBI, largePictures, stay).catch((reason) => reason);
    expect(fault).toEqual(new Error('broke off'));
    expect(largePictures.used).toBe(0);
    const taken = await largePictures.acquire();
    const leaving = new AbortController();
    const waiting = readPicture(chunks(9), 10 * MEBI, largePictures, leaving.signal).catch(
      (reason) => reason,
    );
    await Bun.sleep(0);
    leaving.abort(new Error('gone'));
    expect(await waiting).toEqual(new Error('gone'));
    taken[Symbol.dispose]();
    expect(largePictures.used).toBe(0);
  });
});
