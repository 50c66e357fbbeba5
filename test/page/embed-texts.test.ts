import { describe, expect, test } from 'bun:test';
import type { Received } from '../../src/contract/client.ts';
import { createTextEmbeddings } from '../../src/page/service/embed-texts.ts';

const origin = { model: 'fake', sha256: '0', precision: 'fp32', dimension: 1, logit_scale: 100 };
const tooLong: Received = { status: 400, body: { code: 'label_too_long', error: 'Too long.' } };

/** A service whose embedding of a text is its length, and that refuses long ones. */
function start(refuse: (texts: readonly string[]) => Received | undefined = () => undefined) {
  const asked: (readonly string[])[] = [];
  const origins: unknown[] = [];
  const texts = createTextEmbeddings(
    async (list) => {
      asked.push(list);
      const embeddings = list.map((text) => ({ text, embedding: [text.length] }));
      return refuse(list) ?? { status: 200, body: { ...origin, embeddings, errors: [] } };
    },
    (one) => origins.push(one),
  );
  const signal = new AbortController().signal;
  const sending = { signal, onWait: () => undefined, pause: async () => undefined };
  const ask = (list: readonly string[], template = '') => texts.ask(list, template, sending);
  return { texts, asked, origins, ask };
}

describe('embeddings of texts', () => {
  test('are asked for once, in each template', async () => {
    const { texts, asked, ask, origins } = start();
    await ask(['cat', 'dogs', 'cat']);
    await ask(['dogs', 'a bird']);
    await ask(['cat'], 'photo');
    expect(asked).toEqual([['cat', 'dogs'], ['a bird'], ['cat']]);
    expect([...texts.get('dogs', '')!]).toEqual([4]);
    expect(texts.get('dogs', 'photo')).toBeUndefined();
    expect(origins).toHaveLength(3);
  });

  test('go in requests of at most 200', async () => {
    const { asked, ask } = start();
    await ask(Array.from({ length: 450 }, (_, place) => `${place}`));
    expect(asked.map(({ length }) => length)).toEqual([200, 200, 50]);
  });

  test('a text that is refused is named alone, and the others are answered', async () => {
    const long = 'a very long text';
    const { texts, ask } = start((list) => (list.includes(long) ? tooLong : undefined));
    expect(await ask(['a', 'b', long, 'c', 'd'])).toBeUndefined();
    expect(texts.faultOf(long, '')).toBe('Too long.');
    expect(texts.get(long, '')).toBeUndefined();
    for (const text of ['a', 'b', 'c', 'd']) expect(texts.get(text, '')).toHaveLength(1);
  });

  test('another refusal is not blamed on a text', async () => {
    const { texts, ask } = start(() => ({ status: 401, body: { code: 'unauthorized', error: 'No key.' } }));
    expect(await ask(['a'])).toMatchObject({ code: 'unauthorized' });
    expect(texts.faultOf('a', '')).toBeUndefined();
  });

  test('an answer that is none is a refusal', async () => {
    const { ask } = start(() => ({ status: 200, body: '<html>' }));
    expect(await ask(['a'])).toMatchObject({ code: 'unreadable' });
  });

  test('of one question are all kept, however many they are, and the oldest others are forgotten', async () => {
    const { texts, asked, ask } = start();
    const many = Array.from({ length: 8000 }, (_, place) => `word ${place}`);
    await ask(['old']);
    await ask(many);
    const sent = asked.length;
    await ask(['new', ...many]);
    expect(asked.slice(sent)).toEqual([['new']]);
    expect(many.every((text) => texts.get(text, '') !== undefined)).toBe(true);
    await ask(many, 'photo');
    await ask(many, 'another {}');
    expect(texts.get('old', '')).toBeUndefined();
    expect(many.every((text) => texts.get(text, 'another {}') !== undefined)).toBe(true);
  });

  test('are forgotten with their model', async () => {
    const { texts, asked, ask } = start();
    await ask(['a']);
    texts.forget();
    await ask(['a']);
    expect(asked).toHaveLength(2);
  });
});
