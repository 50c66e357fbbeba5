import { describe, expect, test } from 'bun:test';
import { parseCategories } from '../../src/classify/categories.ts';
import { categoryOf } from '../../src/page/intake/labels.ts';
import { createRequests } from '../../src/page/service/requests.ts';

/** The categories that the service reads from the page's question about a video. */
async function sentFor(texts: readonly string[]) {
  let document = '';
  const requests = createRequests(async ({ form }) => {
    document = String(form.get('categories'));
    return { status: 400, body: undefined };
  });
  await requests.sendVideo(
    new File(['x'], 'a.mp4'),
    {
      categories: texts.map((text) => categoryOf(text)),
      template: '',
      thorough: false,
      others: false,
      fit: 'crop',
    },
    { signal: new AbortController().signal, onSent: () => undefined, onProgress: () => undefined },
  );
  return parseCategories(new TextEncoder().encode(document), 100);
}

describe('the question about a video', () => {
  test('has the categories in the order written, also if they are called as numbers', async () => {
    expect(await sentFor(['red', '10', '2'])).toEqual({ labels: ['red', '10', '2'] });
    expect(await sentFor(['red', '10', '2 = a dark picture', '__proto__ = x | y', '"a=b" = c'])).toEqual({
      labels: ['red', '10', '2', '__proto__', 'a=b'],
      phrases: [['red'], ['10'], ['a dark picture'], ['x', 'y'], ['c']],
    });
  });
});
