import { describe, expect, test } from 'bun:test';
import { ConfigError, parseConfig } from '../src/config.ts';
import { planMemory } from '../src/memory-plan.ts';

const faultsOf = (environment: Record<string, string>): string => {
  try {
    parseConfig(environment, []);
  } catch (fault) {
    if (fault instanceof ConfigError) return fault.message;
    throw fault;
  }
  throw new Error('expected a ConfigError');
};

describe('config', () => {
  test('an empty environment gives the defaults', () => {
    const config = parseConfig({}, []);
    expect(config.port).toBe(8080);
    expect(config.model).toEqual({
      name: 'ViT-B/32',
      cacheDirectory: undefined,
      url: undefined,
      precision: 'auto',
      demoFallback: false,
    });
    expect(config.limits).toEqual({
      files: 10_000,
      imageBytes: 64 * 1024 ** 2,
      imagePixels: 100_000_000,
      videoBytes: 4 * 1024 ** 3,
      videoSeconds: 14_400,
      categories: 1_000,
    });
    expect(config.threads).toBeGreaterThanOrEqual(1);
  });

  test('an empty variable counts as not set', () => {
    expect(parseConfig({ PORT: '', API_KEY: '' }, []).port).toBe(8080);
  });

  test('all faults are reported together, each with the value that came', () => {
    const message = faultsOf({
      PORT: 'eighty',
      MAX_FILES: '0',
      CLIP_PRECISION: 'fp16',
      CLIP_MODEL_URL: 'ftp://x/y',
    });
    expect(message).toContain('PORT="eighty" must be a whole number');
    expect(message).toContain('MAX_FILES="0" must be at least 1');
    expect(message).toContain('CLIP_PRECISION="fp16" must be auto, int8 or fp32');
    expect(message).toContain('CLIP_MODEL_URL="ftp://x/y" must be an http or https URL');
  });

  test('a faulty API key is named and not shown', () => {
    const message = faultsOf({ API_KEY: 'secret' });
    expect(message).toContain('API_KEY must have at least 8 characters');
    expect(message).not.toContain('secret');
  });

  test.each([
    ['a line end', 'secret-key\nX-Other: 1'],
    ['a control character', 'secret\u0001key'],
    ['a space at its end', 'secret-key '],
    ['a space at its beginning', ' secret-key'],
    ['a tab at its end', 'secret-key\t'],
    ['a letter beyond ASCII', 'secret-schlüssel'],
    ['a letter beyond Latin-1', 'secret-🔑-key'],
    ['DEL', 'secret-key\u007f'],
  ])('an API key that no header can carry is named and not shown: %s', (_, key) => {
    const message = faultsOf({ API_KEY: key });
    expect(message).toStartWith('Cannot start: API_KEY must be printable ASCII');
    expect(message).not.toContain('secret');
  });

  test('an API key may have what headers may have', () => {
    for (const key of ['a long enough key', 'AZaz09-._~+/=', '!"#$%&()*,:;<>?@[]^`{|}']) {
      expect(parseConfig({ API_KEY: key }, []).apiKey).toBe(key);
    }
  });

  test.each([
    'https://photos.example/',
    'https://photos.example/path',
    'photos.example',
    'https://Photos.example',
    'https://photos.example:443',
    'https://user@photos.example',
    'https://a.example, https://b.example',
    'https://a.example\r\nX-Other: 1',
    'https://fotos.bär.example',
    'https://',
    'null',
    '**',
  ])('an origin that no browser sends is refused: %s', (origin) => {
    expect(faultsOf({ CORS_ORIGIN: origin })).toContain('must be *, or an origin as browsers send it');
  });

  test.each([
    '*',
    'https://photos.example',
    'http://localhost:3000',
    'http://[::1]:8080',
    'capacitor://localhost',
  ])('an origin that browsers send is taken: %s', (origin) => {
    expect(parseConfig({ CORS_ORIGIN: origin }, []).corsOrigin).toBe(origin);
  });

  test('budgets are planned from the memory limit, the settings and the processor', () => {
    const GIBI = 1024 ** 3;
    expect(parseConfig({ THREADS: '2' }, [], { limitBytes: GIBI, wideWeights: true }).memory).toEqual(
      planMemory({ limitBytes: GIBI, threads: 2, files: 10_000, wideWeights: true }),
    );
    expect(parseConfig({}, [], { limitBytes: 2 * GIBI }).memoryShortage).toBeUndefined();
    expect(parseConfig({}, [], { limitBytes: GIBI / 8 }).memoryShortage).toContain(
      'The memory limit of 128 MiB is too small',
    );
    expect(parseConfig({ MAX_FILES: '1000000' }, [], { limitBytes: 2 * GIBI }).memoryShortage).toContain(
      'MAX_FILES',
    );
  });

  test('only development falls back to the demo model', () => {
    expect(parseConfig({}, ['--dev']).model.demoFallback).toBe(true);
    expect(parseConfig({}, []).model.demoFallback).toBe(false);
  });
});
