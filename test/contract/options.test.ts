import { describe, expect, test } from 'bun:test';
import {
  namedTemplates,
  parseEmbeddingsOptions,
  parseImageOptions,
  parseOptions,
  parseVideoOptions,
} from '../../src/contract/options.ts';

const parse = (query: string) => parseOptions(new URLSearchParams(query));

describe('query options', () => {
  test('have defaults', () => {
    expect(parse('')).toEqual({
      details: false,
      top_k: 5,
      template: undefined,
      threshold: undefined,
      fit: 'crop',
      thumbnails: false,
      on_error: 'fail',
    });
  });

  test('are read', () => {
    expect(
      parse(
        'details=true&top_k=3&template=a+photo+of+a+%7B%7D&template={}&threshold=0.25&thumbnails=true&on_error=fail',
      ),
    ).toEqual({
      details: true,
      top_k: 3,
      template: ['a photo of a {}', '{}'],
      threshold: 0.25,
      fit: 'crop',
      thumbnails: true,
      on_error: 'fail',
    });
  });

  test.each([
    ['white', '#ffffff'],
    ['White', '#ffffff'],
    ['grey', '#808080'],
    ['%23fC0', '#ffcc00'],
    ['%23FFcc01', '#ffcc01'],
  ])('background=%s', (background, colour) => {
    expect(parse(`background=${background}`).background).toBe(colour);
  });

  test.each(['', 'whitish', 'ffffff', '%23ffff', '%23ffffff00', '%23ggg', 'rgb(1,2,3)', 'none'])(
    'background=%s is refused',
    (background) => {
      expect(() => parse(`background=${background}`)).toThrow('must be a colour: white, black or another of');
    },
  );

  test('a background is not an option of a video', () => {
    expect(() => parseVideoOptions(new URLSearchParams('background=white'))).toThrow(
      '"background" is unknown',
    );
  });

  test('on_error: details skip, plain answers fail, unless told otherwise', () => {
    expect(parse('details=true').on_error).toBe('skip');
    expect(parse('details=false').on_error).toBe('fail');
    expect(parse('on_error=skip').on_error).toBe('skip');
  });

  test('templates have names, also beside sentences', () => {
    const { ensemble } = namedTemplates;
    expect(ensemble).toHaveLength(7);
    expect(parse('template=photo').template).toEqual(['a photo of a {}']);
    expect(parse('template=ensemble&template={}, big').template).toEqual([...ensemble, '{}, big']);
    expect(parseEmbeddingsOptions(new URLSearchParams('template=ensemble')).template).toEqual([...ensemble]);
    expect(parse('template=photo {}').template).toEqual(['photo {}']);
    expect(() => parse('template=Photo')).toThrow('or be photo or ensemble');
    expect(() => parse('template=ensemble&'.repeat(15).slice(0, -1))).toThrow('at most 100 times');
  });

  test('others and several are not set by default', () => {
    expect(parse('details=true')).not.toHaveProperty('others');
    expect(parse('others=true')).toMatchObject({ others: true });
    expect(parse('several=True')).toMatchObject({ several: true });
    expect(() => parse('others=1')).toThrow('others="1" must be true or false');
  });

  test('several is for /categorize only', () => {
    const query = new URLSearchParams('several=true&others=true');
    for (const read of [parseImageOptions, parseVideoOptions]) {
      expect(() => read(query)).toThrow(
        expect.objectContaining({
          code: 'option_invalid',
          message: 'Query options cannot be used: several is accepted at /categorize only.',
        }),
      );
      expect(read(new URLSearchParams('others=true'))).toMatchObject({ others: true });
    }
    expect(() => parseEmbeddingsOptions(query)).toThrow('several is accepted at /categorize only');
  });

  test('details=True, as Python writes it, is true', () => {
    expect(parse('details=True').details).toBe(true);
    expect(parse('details=False').details).toBe(false);
  });

  test.each(['0', '1', '.5', '0.5', '1e-3', '1.0'])('threshold=%s', (threshold) => {
    expect(parse(`threshold=${threshold}`).threshold).toBe(Number(threshold));
  });

  test('a template holds {} exactly once, in any company of braces, also by the pattern in the API document', () => {
    const characters = ['{', '}', 'a'];
    let texts = [''];
    for (let length = 1; length <= 7; length += 1) {
      texts = texts.flatMap((text) => characters.map((character) => text + character));
      for (const text of texts) {
        const read = () => parse(`template=${encodeURIComponent(text)}`).template;
        if (text.split('{}').length === 2) expect(read()).toEqual([text]);
        else expect(read).toThrow('must hold {} exactly once');
      }
    }
    expect(parse(`template=${encodeURIComponent('one\nline {}\n')}`).template).toEqual(['one\nline {}\n']);
  });

  test('a template of braces alone is refused at once', () => {
    const start = performance.now();
    for (const text of ['{'.repeat(1000), '{a'.repeat(500), `${'{'.repeat(500)}}${'{'.repeat(498)}}`]) {
      expect(() => parse(`template=${text}`)).toThrow('must hold {} exactly once');
    }
    expect(performance.now() - start).toBeLessThan(1000);
  });

  test.each([
    ['details=yes', 'details="yes" must be true or false'],
    ['details=', 'details="" must be true or false'],
    ['top_k=0', 'top_k="0" must be at least 1'],
    ['top_k=1001', 'must be at most 1000'],
    ['top_k=1.5', 'must be a whole number'],
    ['top_k=-1', 'must be a whole number'],
    ['top_k=99999999', 'must be a whole number'],
    ['threshold=1.1', 'must be a number from 0 to 1'],
    ['threshold=-0.1', 'must be a number from 0 to 1'],
    ['threshold=NaN', 'must be a number from 0 to 1'],
    ['threshold=', 'must be a number from 0 to 1'],
    ['template=a photo', 'must hold {} exactly once'],
    ['template={} and {}', 'must hold {} exactly once'],
    [`template={}${'a'.repeat(1000)}`, 'at most 1000 characters'],
    [Array(101).fill('template={}').join('&'), 'at most 100 times'],
    ['on_error=ignore', 'must be fail or skip'],
    [
      'topk=3',
      '"topk" is unknown (known: details, top_k, template, threshold, others, background, fit, thumbnails, on_error, several)',
    ],
    ['__proto__=3', '"__proto__" is unknown'],
    ['top_k=1&top_k=2', 'top_k is given 2 times'],
  ])('%s', (query, sentence) => {
    expect(() => parse(query)).toThrow(expect.objectContaining({ code: 'option_invalid' }));
    expect(() => parse(query)).toThrow(sentence);
  });

  test('thousands of options are refused by their number, and of many faults the first are named', () => {
    const keys = (count: number) => Array.from({ length: count }, (_, index) => `k${index}`).join('&');
    expect(() => parse(keys(1001))).toThrow('The query has 1001 options; at most 1000 are accepted.');
    expect(() => parse(keys(1000))).toThrow(/"k0" is unknown .*; "k4" is unknown [^;]*; and 995 more\.$/);
  });

  test('all faults are named at once', async () => {
    const faults = String(await Promise.try(() => parse('details=1&top_k=x&size=3')).catch((fault) => fault));
    expect(faults).toContain('size');
    expect(faults).toContain('details');
    expect(faults).toContain('top_k');
  });
});

describe('query options of /video', () => {
  const parseVideo = (query: string) => parseVideoOptions(new URLSearchParams(query));

  test('have defaults', () => {
    expect(parseVideo('')).toEqual({
      details: false,
      top_k: 5,
      template: undefined,
      threshold: undefined,
      images: true,
      thorough: false,
      fit: 'crop',
      moments: false,
    });
  });

  test('are read', () => {
    expect(
      parseVideo(
        'details=true&top_k=3&template=a+%7B%7D&threshold=0.25&images=False&thorough=true&moments=TRUE',
      ),
    ).toEqual({
      details: true,
      top_k: 3,
      template: ['a {}'],
      threshold: 0.25,
      images: false,
      thorough: true,
      fit: 'crop',
      moments: true,
    });
  });

  test.each([
    ['images=', 'images="" must be true or false'],
    [
      'on_error=skip',
      '"on_error" is unknown (known: details, top_k, template, threshold, others, images, thorough, fit, moments)',
    ],
    ['top_k=0', 'top_k="0" must be at least 1'],
  ])('%s', (query, sentence) => {
    expect(() => parseVideo(query)).toThrow(sentence);
  });
});
