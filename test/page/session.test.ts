import { describe, expect, test } from 'bun:test';
import type { Received } from '../../src/contract/client.ts';
import type { Question } from '../../src/page/results/photo.ts';
import type { Requests } from '../../src/page/service/requests.ts';
import { createSession } from '../../src/page/session.ts';

interface Told {
  readonly photos: string[];
  readonly texts: (readonly string[])[];
}

/** A session with a service that embeds everything as one number. Its model can be changed. */
function start(told: Told = { photos: [], texts: [] }) {
  const service = { sha256: 'first', texts: 0 };
  const origin = () => ({
    model: 'fake',
    sha256: service.sha256,
    precision: 'fp32',
    dimension: 1,
    logit_scale: 100,
  });
  const answer = (embeddings: readonly object[]): Received => ({
    status: 200,
    body: { ...origin(), embeddings, errors: [] },
  });
  const requests: Requests = {
    setKey: () => undefined,
    hasKey: false,
    async sendPhotos(photos, fit) {
      told.photos.push(`${photos.length} ${fit}`);
      return answer(photos.map((_, place) => ({ file: String(place), embedding: [1] })));
    },
    async sendTexts(texts) {
      told.texts.push(texts);
      return answer(texts.map((text) => ({ text, embedding: [0.5] })));
    },
    sendVideo: () => Promise.reject(new Error('not asked for')),
  };
  const session = createSession({ requests, untilReady: async () => undefined, changed: () => undefined });
  const add = (...names: readonly string[]) =>
    session.addPhotos(
      names.map((name) => ({
        file: new File([name], name, { lastModified: 1 }),
        path: name,
        inFolder: false,
      })),
    );
  return { session, service, told, add };
}

const questionOf = (...names: readonly string[]): Question => ({
  categories: names.map((name) => ({ name, phrases: [name] })),
  template: '',
});
const namesOf = (asked: Question | undefined) => asked?.categories.map(({ name }) => name);

describe('a session', () => {
  test('keeps the answers of a question that is asked again, and no others', async () => {
    const { session, service } = start();
    await session.ask(questionOf('cat', 'dog'));
    const { asked } = session;
    await session.ask(questionOf('cat', 'dog'));
    expect(asked).toBeDefined();
    expect(session.asked).toBe(asked!);
    await session.ask({ ...questionOf('cat', 'dog'), template: 'photo' });
    expect(session.asked).not.toBe(asked!);
    await session.ask(questionOf('dog', 'cat'));
    expect(namesOf(session.asked)).toEqual(['dog', 'cat']);
    session.setFit('whole');
    await session.ask(questionOf('cat', 'dog'));
    expect(session.asked?.origin).not.toBe(asked!.origin);
    service.sha256 = 'second';
    await session.ask(questionOf('bird'));
    await session.ask(questionOf('cat', 'dog'));
    expect(session.asked?.origin).toContain('second');
  });

  test('sends each photo once, whatever is asked about it', async () => {
    const { session, told, add } = start();
    await add('a.jpg', 'b.jpg');
    expect(await session.sendPhotos()).toBeUndefined();
    await session.ask(questionOf('cat'));
    await session.ask(questionOf('cat', 'dog'));
    await session.ask(questionOf('dog'));
    await add('c.jpg', 'a.jpg');
    await session.sendPhotos();
    expect(told.photos).toEqual(['2 crop', '1 crop']);
    expect(told.texts.map((texts) => texts.filter((text) => text === 'cat' || text === 'dog'))).toEqual([
      ['cat'],
      ['dog'],
    ]);
    expect(namesOf(session.asked)).toEqual(['dog']);
    expect(session.unsent).toBe(0);
  });

  test('known words are answered at once; while others are asked for, the last answer stays', async () => {
    const { session } = start();
    await session.ask(questionOf('cat', 'dog'));
    void session.ask(questionOf('dog'));
    expect(namesOf(session.asked)).toEqual(['dog']);
    const asking = session.ask(questionOf('dog', 'bird'));
    expect(namesOf(session.asked)).toEqual(['dog']);
    expect(session.words.areAsked).toBe(true);
    await asking;
    expect(namesOf(session.asked)).toEqual(['dog', 'bird']);
  });

  test('only the last of several quick changes is asked for', async () => {
    const { session, told } = start();
    const changes = ['c', 'ca', 'cat'].map((word) => session.ask(questionOf(word)));
    await Promise.all(changes);
    expect(told.texts).toHaveLength(1);
    expect(namesOf(session.asked)).toEqual(['cat']);
  });

  test('a category of several phrases has their mean as embedding', async () => {
    const { session } = start();
    await session.ask({ categories: [{ name: 'dog', phrases: ['a dog', 'a puppy'] }], template: '' });
    expect([...session.asked!.embeddings[0]!]).toEqual([1]);
  });

  test('another part of the photos, and another model, are reasons to send them again', async () => {
    const { session, service, told, add } = start();
    await add('a.jpg');
    await session.sendPhotos();
    await session.ask(questionOf('cat'));
    session.setFit('whole');
    expect(session.unsent).toBe(1);
    await session.sendPhotos();
    expect(told.photos).toEqual(['1 crop', '1 whole']);
    service.sha256 = 'second';
    await session.ask(questionOf('cat', 'dog'));
    while (session.words.areAsked) await Bun.sleep(5);
    expect(session.unsent).toBe(1);
    await session.sendPhotos();
    expect(told.photos).toEqual(['1 crop', '1 whole', '1 whole']);
    expect(session.asked?.origin).toContain('second');
    expect(session.photos[0]?.embedding?.origin).toBe(session.asked!.origin);
  });

  test('a photo is removed, and can be added again', async () => {
    const { session, add } = start();
    await add('a.jpg', 'b.jpg');
    session.removePhoto(session.photos[0]!);
    expect(session.photos.map(({ path }) => path)).toEqual(['b.jpg']);
    expect(await add('a.jpg')).toBe(1);
  });
});
