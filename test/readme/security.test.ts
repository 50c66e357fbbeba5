import { expect, test } from 'bun:test';
import { join } from 'node:path';
import * as v from 'valibot';
import { parseConfig } from '../../src/config.ts';
import { optionsSchema } from '../../src/contract/options.ts';
import { errorCodes } from '../../src/errors.ts';
import { start } from '../http/harness.ts';
import { parseExposition } from '../http/metrics/exposition.ts';
import { codeIn, page, repository, section, tableRows } from './markdown.ts';

const security = await page('SECURITY.md');
const limits = tableRows(section(security, 'What is promised'));

const units: Readonly<Record<string, number>> = {
  '': 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  megapixels: 1e6,
  hours: 3600,
};

/** The number of a row, in single bytes, pixels or seconds. */
function limitOf(what: string): number {
  const row = limits.find(([name = '']) => name === what || name.startsWith(`${what},`));
  const [, digits, unit = ''] = /^([\d,]+)(?: (\w+))?$/.exec(row?.[1] ?? '') ?? [];
  const factor = units[unit];
  if (digits === undefined || factor === undefined) throw new Error(`there is no number for "${what}"`);
  return Number(digits.replaceAll(',', '')) * factor;
}

/** The value of a constant of the code, in whichever file it is. */
async function constant(name: string): Promise<number> {
  for (const path of new Bun.Glob('src/**/*.ts').scanSync(repository)) {
    const text = await Bun.file(join(repository, path)).text();
    const [, value] = new RegExp(`^(?:export )?const ${name} = ([\\d_*+ ]+);`, 'm').exec(text) ?? [];
    // `4 * 1024 ** 2`
    if (value !== undefined) {
      return value.split(' * ').reduce((product, factor) => {
        const [base = '', exponent = '1'] = factor.split(' ** ');
        return product * Number(base.replaceAll('_', '')) ** Number(exponent);
      }, 1);
    }
  }
  throw new Error(`the code has no constant ${name}`);
}

test('the table has all limits of the settings, with their defaults', () => {
  const { limits: known } = parseConfig({}, []);
  const defaults: Readonly<Record<string, number>> = {
    MAX_FILES: known.files,
    MAX_IMAGE_BYTES: known.imageBytes,
    MAX_IMAGE_PIXELS: known.imagePixels,
    MAX_VIDEO_BYTES: known.videoBytes,
    MAX_VIDEO_SECONDS: known.videoSeconds,
    MAX_CATEGORIES: known.categories,
  };
  const told = limits.flatMap(([what = '', , setBy = '']) =>
    codeIn(setBy).map((setting) => [setting, limitOf(what.split(',')[0] ?? '')] as const),
  );
  expect(Object.fromEntries(told)).toEqual(defaults);
});

test('the fixed limits are those of the code', async () => {
  expect(limitOf('bytes of the categories')).toBe(await constant('MAX_DOCUMENT_BYTES'));
  expect(limitOf('bytes of a file name, or of an id')).toBe(await constant('MAX_FILE_NAME_BYTES'));
  expect(limitOf('frames of one video that the model looks at')).toBe(await constant('MAX_SQUARES'));
  expect(limitOf('squares of one picture with `fit=tiles`')).toBe(await constant('MAX_PICTURE_TILES'));
  expect(limitOf('frames with `thorough=true`')).toBe(await constant('MAX_THOROUGH_SQUARES'));
});

test('the limits of options are those of the schemas', () => {
  const { template, top_k } = optionsSchema.entries;
  const accepts = (schema: v.GenericSchema, value: unknown) => v.safeParse(schema, value).success;
  const templates = limitOf('templates in one request');
  const characters = limitOf('characters of one template');
  const candidates = limitOf('candidates that `top_k` lists');
  const many = (count: number) => Array.from({ length: count }, (_, index) => `${index} {}`);
  const long = (length: number) => [`{}${'x'.repeat(length - 2)}`];
  for (const [schema, accepted, refused] of [
    [template, many(templates), many(templates + 1)],
    [template, long(characters), long(characters + 1)],
    [top_k, String(candidates), String(candidates + 1)],
  ] as const) {
    expect([accepts(schema, accepted), accepts(schema, refused)]).toEqual([true, false]);
  }
});

test('the metrics and codes to watch exist', async () => {
  const named = tableRows(section(security, 'What to watch')).flatMap(([what = '']) => codeIn(what));
  const codes = named.flatMap((text) => /code="(\w+)"/.exec(text)?.[1] ?? []);
  expect(codes.length).toBeGreaterThan(4);
  for (const code of codes) expect(errorCodes as readonly string[]).toContain(code);
  await using server = start();
  const families = parseExposition(await (await fetch(server.address('/metrics'))).text());
  const metrics = named.flatMap((text) => /^\w+/.exec(text)?.[0] ?? []);
  expect(metrics.length).toBeGreaterThan(2);
  for (const metric of metrics) expect(families.map(({ name }) => name)).toContain(metric);
});
