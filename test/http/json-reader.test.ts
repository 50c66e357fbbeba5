import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { ServiceError } from '../../src/errors.ts';
import { openInput } from '../../src/http/data-url.ts';
import { JsonReader, jsonInvalid } from '../../src/http/json-reader.ts';
import { cutAt } from './read-parts.ts';

const reader = (chunks: Iterable<Uint8Array>) =>
  new JsonReader(chunks[Symbol.iterator](), (why) => jsonInvalid(`is malformed: ${why}`));

const inPieces = (text: string, cuts: readonly number[]) => reader(cutAt(Buffer.from(text), cuts));

/** Reads everything entry by entry and piece by piece. */
async function readAll(json: JsonReader): Promise<unknown> {
  switch (await json.peek()) {
    case 'list': {
      const list: unknown[] = [];
      for await (const index of json.entries()) list[index] = await readAll(json);
      return list;
    }
    case 'object': {
      const entries: [string, unknown][] = [];
      for await (const key of json.members()) entries.push([key, await readAll(json)]);
      return Object.fromEntries(entries);
    }
    case 'string':
      return (await Array.fromAsync(json.text())).join('');
    default:
      return await json.value(1000);
  }
}

const faultOf = async (text: string, read: (json: JsonReader) => Promise<unknown> = readAll) => {
  const json = reader([Buffer.from(text)]);
  const fault = await read(json)
    .then(() => json.end())
    .catch((thrown: unknown) => thrown);
  return fault instanceof ServiceError ? fault.message : fault;
};

describe('JSON that is read while it arrives', () => {
  const cuts = fc.array(fc.nat(200), { maxLength: 5 }).map((places) => places.toSorted((a, b) => a - b));

  test('is what JSON.parse reads, wherever it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 3 }), fc.nat(2), cuts, async (value, indent, places) => {
        const text = JSON.stringify(value, undefined, indent);
        const json = inPieces(text, places);
        expect(await readAll(json)).toEqual(JSON.parse(text));
        await json.end();
        expect(await inPieces(text, places).value(10_000)).toEqual(JSON.parse(text));
      }),
    );
  });

  test('has its escapes resolved, also where they are cut', async () => {
    const text = '"a\\u00e9\\\\\\"\\ud83d\\ude00\\/\\n\u{1f600}é\\\\\\u0041"';
    for (let at = 0; at <= Buffer.byteLength(text); at++) {
      expect(await readAll(inPieces(text, [at]))).toBe(JSON.parse(text));
      expect(await readAll(inPieces(text, [at, at + 3]))).toBe(JSON.parse(text));
    }
  });

  test('may be several documents, one after the other', async () => {
    const json = inPieces('{"a":1}\n[2]\r\n 3 "4"', [3, 9]);
    const found: unknown[] = [];
    while ((await json.peek()) !== 'end') found.push(await json.value(100));
    expect(found).toEqual([{ a: 1 }, [2], 3, '4']);
  });

  test.each([
    ['', 'it ends at byte 0, too early'],
    ['[1,', 'it ends at byte 3, too early'],
    ['{"a":"b', 'it ends at byte 7, too early'],
    ['[1 2]', 'byte 3 is "2", which is not expected there'],
    ['{"a" 1}', 'byte 5 is "1", which is not expected there'],
    ['{a:1}', 'byte 1 is "a", which is not expected there'],
    ['[]x', 'byte 2 is "x", which is not expected there'],
    ['[tru]', 'the value at byte 1 is not valid JSON in UTF-8'],
    ['["\\x"]', 'the string at byte 2 is not valid JSON in UTF-8'],
    ['["\n"]', 'the string at byte 2 is not valid JSON in UTF-8'],
    ['[01]', 'the value at byte 1 is not valid JSON in UTF-8'],
  ])('is refused with the place of its fault: %p', async (text, why) => {
    expect(await faultOf(text)).toBe(`The JSON body is malformed: ${why}.`);
  });

  test('is refused if it is not UTF-8', async () => {
    const json = reader([Buffer.concat([Buffer.from('"'), Buffer.of(0xff), Buffer.from('"')])]);
    expect(readAll(json)).rejects.toThrow('not valid JSON in UTF-8');
  });

  test('has a bound for each value and for the keys of an object, whatever it says', async () => {
    const value = (json: JsonReader) => json.value(100);
    expect(await faultOf(`"${'a'.repeat(200)}"`, value)).toContain('has more than 100 bytes');
    expect(await faultOf('['.repeat(200), value)).toContain('has more than 100 bytes');
    expect(await faultOf('1'.repeat(200), value)).toContain('has more than 100 bytes');
    const keys = Array.from({ length: 1001 }, (_, index) => `"${index}":0`);
    expect(await faultOf(`{${keys}}`)).toContain('an object has more than 1000 keys');
    expect(await faultOf(`{"${'k'.repeat(2000)}":1}`)).toContain('has more than 1024 bytes');
  });

  test('leaves the event loop its turns', async () => {
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 1);
    const list = Buffer.from(`[${'"", '.repeat(200_000)}""]`);
    expect(await readAll(reader([list]))).toHaveLength(200_001);
    clearInterval(counting);
    expect(turns).toBeGreaterThan(2);
  });
});

describe('a string with a picture', () => {
  const open = async (pieces: readonly string[]) => {
    async function* all() {
      yield* pieces;
    }
    const input = await openInput(all(), 'input[0]');
    if (input.kind === 'text') return (await Array.fromAsync(input.pieces)).join('');
    return Buffer.concat(await Array.fromAsync(input.content));
  };
  const opened = (pieces: readonly string[]) => open(pieces).catch((thrown: Error) => thrown.message);

  test('is decoded, wherever it is cut, padded or not, with white space, in both alphabets', async () => {
    const style = fc.record({
      isPadded: fc.boolean(),
      isOfUrls: fc.boolean(),
      lineLength: fc.constantFrom(1, 3, 76, 10_000),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        style,
        fc.array(fc.nat(400), { maxLength: 4 }),
        async (bytes, { isPadded, isOfUrls, lineLength }, cuts) => {
          let base64 = Buffer.from(bytes).toString('base64');
          if (!isPadded) base64 = base64.replaceAll('=', '');
          if (isOfUrls) base64 = base64.replaceAll('+', '-').replaceAll('/', '_');
          const lines = base64.replace(new RegExp(`.{${lineLength}}`, 'g'), '$&\r\n');
          const url = `data:image/png;charset=utf-8;base64,${lines}`;
          const places = [0, ...cuts.toSorted((a, b) => a - b), url.length];
          const pieces = places.slice(1).map((end, index) => url.slice(places[index], end));
          expect(await open(pieces)).toEqual(Buffer.from(bytes));
        },
      ),
    );
  });

  test('is decoded where its padding comes in two pieces', async () => {
    expect(await open(['data:;base64,AA=', '='])).toEqual(Buffer.of(0));
    expect(await open(['data:;base64,AAAA\nAA=', '\n=\n'])).toEqual(Buffer.of(0, 0, 0, 0));
    expect(await opened(['data:;base64,AA=', '=', 'AA=='])).toContain('something follows its end');
    expect(await opened(['data:;base64,AA=', 'A'])).toContain('something follows its end');
  });

  test.each(['a dog', 'data', 'https://photos.example/data:', ''])('is not %p', async (text) => {
    expect(await open([...text])).toBe(text);
  });

  test.each([
    ['data:image/png,%00', 'has a data URL as input[0] that is not in base64'],
    ['data:image/png;base64', 'has a data URL as input[0] that is not in base64'],
    [`data:${'x'.repeat(300)}`, 'has a data URL as input[0] that is not in base64'],
    ['data:;base64,AAA!', '"!" is not part of it'],
    ['data:;base64,AAAAA', 'it is cut off'],
    ['data:;base64,AA==AA==', 'something follows its end'],
  ])('is refused: %p', async (text, why) => {
    expect(await opened([text])).toContain(why);
    expect(await opened([...text])).toContain(why);
  });
});
