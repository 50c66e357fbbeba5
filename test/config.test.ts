import { describe, expect, test } from 'bun:test';
import { ConfigError, parseConfig } from '../src/config.ts';

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

  test('the memory to fill is the cgroup’s limit, and never more than users were told to have', () => {
    const GIBI = 1024 ** 3;
    expect(parseConfig({}, [], GIBI).memoryBytes).toBe(GIBI);
    expect(parseConfig({}, [], 64 * GIBI).memoryBytes).toBe(2 * GIBI);
  });

  test('only development falls back to the demo model', () => {
    expect(parseConfig({}, ['--dev']).model.demoFallback).toBe(true);
    expect(parseConfig({}, []).model.demoFallback).toBe(false);
  });
});
