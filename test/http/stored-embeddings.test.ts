import { expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Fit } from '../../src/contract/options.ts';
import { ServiceError } from '../../src/errors.ts';
import { readStoredEmbeddings } from '../../src/http/stored-embeddings.ts';
import { fakeModel } from './fake-engine.ts';
import { cutAt } from './read-parts.ts';

const { sha256 } = fakeModel;

/** What is read of a document, or the code and the sentence of its fault. */
async function outcomeOf(document: Buffer, cuts: readonly number[], fit: Fit = 'crop'): Promise<unknown> {
  async function* chunks() {
    yield* cutAt(document, cuts);
  }
  const found: unknown[] = [];
  try {
    await readStoredEmbeddings(chunks(), { model: fakeModel, fit }, ({ file, id, tiles }) => {
      found.push([file, id, ...tiles.flatMap((tile) => [...tile])]);
    });
    return found;
  } catch (fault) {
    if (!(fault instanceof ServiceError)) throw fault;
    expect(['embeddings_invalid', 'embeddings_mismatch']).toContain(fault.code);
    expect(fault.message.length).toBeLessThan(1000);
    return [fault.code, fault.message];
  }
}

const entries = [
  { file: 'a {"]} \\ é.jpg', embedding: [0.6, -0.8], id: '1' },
  { file: 'b', embedding: Buffer.from(Float32Array.of(1, 0).buffer).toString('base64') },
];
const documents = [
  JSON.stringify({ model: 'x', sha256, precision: 'fp32', embeddings: entries, errors: [] }, undefined, 1),
  JSON.stringify({ embeddings: entries, sha256 }),
  JSON.stringify(entries.map((entry) => ({ ...entry, sha256 }))),
  entries.map((entry) => `${JSON.stringify({ event: 'embedding', data: { ...entry, sha256 } })}\n`).join(''),
].map((text) => Buffer.from(text));

test.each(documents.map((document, index) => [index, document] as const))(
  'document %d is read wherever it is cut',
  async (_, document) => {
    const whole = await outcomeOf(document, []);
    expect(whole).toEqual([
      [entries[0]?.file, '1', Math.fround(0.6), Math.fround(-0.8)],
      ['b', undefined, 1, 0],
    ]);
    for (let at = 0; at < document.length; at++) expect(await outcomeOf(document, [at])).toEqual(whole);
  },
);

test('a damaged document is refused with a code, or read in one way only', async () => {
  const mutation = fc.record({
    at: fc.nat(400),
    remove: fc.nat(20),
    insert: fc.oneof(
      fc.constantFrom('', '{', '}', '[', ']', '"', ',', ':', '\\', '\n', '-', '1e99', 'null', '"id":7,'),
      fc.string({ maxLength: 3 }),
    ),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...documents),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      fc.nat(300),
      async (document, mutations, cut) => {
        let damaged = document;
        for (const { at, remove, insert } of mutations) {
          const place = at % damaged.length;
          const rest = damaged.subarray(place + remove);
          damaged = Buffer.concat([damaged.subarray(0, place), Buffer.from(insert), rest]);
        }
        const whole = await outcomeOf(damaged, []);
        expect(await outcomeOf(damaged, [Math.min(cut, damaged.length)])).toEqual(whole);
      },
    ),
    { numRuns: 2000 },
  );
});

test('many embeddings leave the event loop its turns', async () => {
  const line = `${JSON.stringify({ sha256, file: 'a', embedding: [0.6, 0.8] })}\n`;
  let turns = 0;
  const counting = setInterval(() => {
    turns += 1;
  }, 1);
  const found = (await outcomeOf(Buffer.from(line.repeat(20_000)), [])) as unknown[];
  clearInterval(counting);
  expect(found).toHaveLength(20_000);
  expect(turns).toBeGreaterThan(2);
});
