import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import packageJson from '../../package.json';
import { environmentSchema } from '../../src/config.ts';
import { adviceForStatus, clientActions, errorMeanings } from '../../src/contract/codes.ts';
import { listTitles, pictureFormats, videoCodecs, videoContainers } from '../../src/contract/formats.ts';
import { embeddingsOptionsSchema, optionsSchema, videoOptionsSchema } from '../../src/contract/options.ts';
import { errorCodes } from '../../src/errors.ts';
import { start } from '../http/harness.ts';
import { codeIn, page, pagePaths, repository, section, tableRows } from './markdown.ts';

const rowsOf = (markdown: string, heading: string) => tableRows(section(markdown, heading));

test('the settings are those of the service, with their defaults', async () => {
  const rows = rowsOf(await page('docs/settings.md'), 'Settings');
  expect(rows.flatMap(([variable = '']) => codeIn(variable))).toEqual(Object.keys(environmentSchema.entries));
  const defaults = Object.entries(environmentSchema.entries).map(([name, schema]) => [
    name,
    'default' in schema && typeof schema.default === 'string' ? schema.default : undefined,
  ]);
  for (const [index, [name, known]] of defaults.entries()) {
    const told = rows[index]?.[2] ?? '';
    // The page describes in words what depends on the machine or is not set.
    if (known !== undefined) expect([name, codeIn(told)[0]]).toEqual([name, known]);
    else expect(told).not.toBe('');
  }
});

test('the options are those of the endpoints', async () => {
  const rows = rowsOf(await page('docs/api.md'), 'Options');
  const told = rows.map(([option = '']) => /^`(\w+)=/.exec(option)?.[1] ?? option);
  const schemas = [optionsSchema, embeddingsOptionsSchema, videoOptionsSchema];
  const known = new Set(schemas.flatMap(({ entries }) => Object.keys(entries)));
  expect(told.toSorted()).toEqual([...known].toSorted());
});

test('the endpoints are those of the API document', async () => {
  const told = rowsOf(await page('docs/api.md'), 'Endpoints').flatMap(([endpoint = '']) => codeIn(endpoint));
  await using server = start();
  const document = v.parse(
    v.object({ paths: v.record(v.string(), v.record(v.string(), v.unknown())) }),
    await (await fetch(server.address('/swagger/json'))).json(),
  );
  const known = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(told.toSorted()).toEqual([...known, 'GET /swagger', 'GET /swagger/json'].toSorted());
});

test('each package has its reason, and no other is named', async () => {
  const rows = rowsOf(await page('docs/dependencies.md'), 'Dependencies');
  const named = rows.flatMap(([packages = '']) => codeIn(packages));
  const known = [...Object.keys(packageJson.dependencies), ...Object.keys(packageJson.devDependencies)];
  expect(named.toSorted()).toEqual(known.toSorted());
});

test('each error code has its status, the advice for clients, a cause and a cure', async () => {
  const rows = rowsOf(await page('deploy/troubleshooting.md'), 'Error codes');
  expect(
    rows.map(([code = '', status, client = '']) => [codeIn(code)[0], Number(status), codeIn(client)[0]]),
  ).toEqual(errorCodes.map((code) => [code, errorMeanings[code].status, errorMeanings[code].client]));
  for (const [, , , cause, cure] of rows) {
    expect(cause).not.toBe('');
    expect(cure).not.toBe('');
  }
});

test('the advice for clients is the one of the service', async () => {
  const rows = rowsOf(await page('deploy/troubleshooting.md'), 'When to send again');
  const actions = rows.slice(0, 4).map(([action = '', words]) => [codeIn(action)[0], words]);
  expect(Object.fromEntries(actions)).toEqual(clientActions);
  const words = section(await page('docs/api.md'), 'Errors')
    .split('\n\n')
    .find((paragraph) => paragraph.includes('#when-to-send-again'));
  expect(codeIn(words ?? '').slice(0, 4)).toEqual(Object.keys(clientActions));
  const told = rows.flatMap(([answer = '', client = '']) =>
    [...answer.matchAll(/\b\d{3}\b/g)].map(([status]) => [Number(status), codeIn(client)[0] ?? '']),
  );
  const known = told.map(([status]): (number | string)[] => [
    Number(status),
    adviceForStatus(Number(status)).client,
  ]);
  expect(told).toEqual(known);
  expect(told.length).toBeGreaterThan(8);
});

test('the formats are those of the service', async () => {
  const accepted = section(await page('docs/api.md'), 'What is accepted');
  expect(accepted).toContain(`- **Pictures**: ${listTitles(pictureFormats, 'and')}, decided by content`);
  const videos = `${listTitles(videoContainers, 'and')} with ${listTitles(videoCodecs, 'or')}.`;
  expect(accepted).toContain(`- **Videos**: ${videos}`);
  const titles = Object.values(pictureFormats).map(({ title }) => title);
  expect(await page('README.md')).toContain(`**${titles.slice(0, -1).join(', ')} or ${titles.at(-1)}.**`);
  const sent = `Send ${listTitles(pictureFormats, 'or')}.`;
  expect(section(await page('deploy/troubleshooting.md'), 'Error codes')).toContain(sent);
});

const allPages = (await Promise.all(pagePaths.map(page))).join('\n');

test('the scripts that are named exist', () => {
  const known = Object.keys(packageJson.scripts);
  const named = new Set(
    [...allPages.matchAll(/\b(?:bun|bun@[\d.]+) run (?:--silent )?([\w:-]+)/g)].map(
      ([, script = '']) => script,
    ),
  );
  expect([...named].filter((script) => !known.includes(script))).toEqual([]);
  expect(named.size).toBeGreaterThan(5);
});

test('the files that are named exist', () => {
  // Not patterns such as `test/bench/results/*.json`.
  const paths = allPages.matchAll(
    /(?<![\w./@-])(?!\S*\*)(?:src|native|test|models|deploy|docs)\/[\w./-]*\w/g,
  );
  const named = new Set([...paths].map(([path]) => path));
  expect([...named].filter((path) => !existsSync(join(repository, path)))).toEqual([]);
  expect(named.size).toBeGreaterThan(20);
});

test('the version of Bun is the one of the types', () => {
  const versions = new Set([...allPages.matchAll(/bun@([\d.]+\d)/g)].map(([, version]) => version));
  expect([...versions]).toEqual([packageJson.devDependencies['bun-types']]);
});

test('no command has an option that Docker warns of', async () => {
  expect(allPages).not.toMatch(/docker (?:stop|restart) --time\b/);
  for (const path of ['README.md', 'deploy/README.md']) {
    expect(await page(path)).toMatch(/docker (?:stop|restart) -t \d+/);
  }
});
