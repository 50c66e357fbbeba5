import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { type Colour, colourPicture } from '../fixtures/colour-pictures.ts';
import { sortedPhotos } from '../fixtures/sorted-photos.ts';
import { makeVideo } from '../fixtures/videos.ts';
import { describeInBrowser, useStage } from '../page/browser/visit.ts';
import { type Service, startService } from '../service/service.ts';
import { type CodeBlock, codeBlocks, page, pagePaths, repository } from './markdown.ts';

/** The program that runs a block of a language, and the ending of the file for it. */
const interpreters: Readonly<Record<string, { readonly program: string; readonly extension: string }>> = {
  sh: { program: 'sh', extension: 'sh' },
  js: { program: process.execPath, extension: 'mjs' },
  python: { program: 'python3', extension: 'py' },
};
const answerLanguages = new Set(['json', 'jsonl', 'text', 'csv']);

interface Snippet {
  readonly path: string;
  readonly block: CodeBlock;
  /** The answer that the page shows for it. */
  readonly shown: CodeBlock | undefined;
}

const address = 'http://localhost:8080';
/** The programs of this checkout, by the commands that start them. */
const programs: Readonly<Record<string, string>> = {
  'bun run --silent classify': 'src/cli/main.ts',
  'bun run --silent evaluate': 'src/evaluate/main.ts',
};
const asked = [address, ...Object.keys(programs)];
const readme = await page('README.md');
const paths = ['README.md', ...pagePaths.filter((path) => path.startsWith('docs/'))];
/** All blocks that ask a service or the command line. Commands that start a service are tested elsewhere. */
const snippets: readonly Snippet[] = (
  await Promise.all(
    paths.map(async (path) => {
      const blocks = codeBlocks(await page(path));
      return blocks.flatMap((block, index) => {
        const { language, code } = block;
        const isRun = language in interpreters || language === 'html';
        if (!isRun || !asked.some((one) => code.includes(one))) return [];
        const next = blocks[index + 1];
        return [{ path, block, shown: next && answerLanguages.has(next.language) ? next : undefined }];
      });
    }),
  )
).flat();
const commands = snippets.filter(({ block }) => block.language !== 'html');
const documents = snippets.filter(({ block }) => block.language === 'html');

/** Photos of one colour each, with the names that the pages use. */
const photos: Readonly<Record<string, Colour>> = {
  'banana.png': [245, 215, 40],
  'wave.jpg': [35, 70, 200],
  'pug.jpg': [110, 65, 30],
};

let folder: string;
let service: Service;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'));
  service = await startService({ CLIP_MODEL: 'demo', CLIP_CACHE: join(folder, 'cache') });
  for (const [name, colour] of Object.entries(photos)) {
    await writeFile(join(folder, name), await colourPicture(colour, name.endsWith('.png') ? 'png' : 'jpeg'));
  }
  const whole = await colourPicture([40, 150, 50]);
  await writeFile(join(folder, 'cut.jpg'), whole.subarray(0, whole.length / 2));
  const scenes = [
    { colour: 'white', seconds: 1 },
    { colour: 'black', seconds: 1 },
  ] as const;
  await cp((await makeVideo({ scenes })).path, join(folder, 'cockatoo.mp4'));
  await mkdir(join(folder, 'photos'));
  for (const name of Object.keys(photos)) await cp(join(folder, name), join(folder, 'photos', name));
  for (const [name, photo] of Object.entries(await sortedPhotos())) {
    await Bun.write(join(folder, 'sorted', name), photo);
  }
  const [, categories] = /`(\{"categories": .+?\})`/.exec(readme) ?? [];
  await writeFile(join(folder, 'categories.json'), categories ?? 'the page does not show it');
  await service.ready();
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Runs a block in the folder of the photos, with the service of this test and the command line of this checkout. */
async function run({ path, block: { language, code, line } }: Snippet): Promise<string> {
  const { program, extension } = interpreters[language]!;
  const file = join(folder, `${path.replaceAll('/', '-')}-${line}.${extension}`);
  const script = Object.entries(programs).reduce(
    (text, [command, main]) => text.replaceAll(command, `'${process.execPath}' '${join(repository, main)}'`),
    code.replaceAll(address, service.url),
  );
  await writeFile(file, script);
  const child = Bun.spawn([program, file], {
    cwd: folder,
    env: { ...process.env, CLIP_MODEL: 'demo', CLIP_CACHE: join(folder, 'cache') },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [output, faults] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`${path}:${line} fails: ${faults}`);
  return output;
}

/**
 * An answer without what differs from photo to photo: numbers, times in the names of frames, and frames and embeddings,
 * of which the pages show only the beginning.
 */
function essence(value: unknown): unknown {
  if (typeof value === 'number') return 'a number';
  if (typeof value === 'string') {
    return value.startsWith('/9j/') ? 'a JPEG' : value.replace(/-\d+\.\d{3}\.jpg$/, '-SECONDS.jpg');
  }
  if (Array.isArray(value)) return value.map(essence);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === 'embedding' ? 'an embedding' : essence(inner),
    ]),
  );
}

/** An answer as the pages show it: a stream counts by the first kind of event and the last event. */
function essenceOf(answer: string, language: string): unknown {
  if (language === 'json') return essence(JSON.parse(answer));
  const lines = answer.trimEnd().split('\n');
  if (language === 'jsonl') {
    const events = lines.map((line) => essence(JSON.parse(line)) as Record<string, unknown>);
    return { first: events[0]?.event, last: events.at(-1) };
  }
  return lines.map((line) => essence(line.replace(/\b\d\.\d{6,}(?:e-\d+)?/g, 'a number')));
}

const answerOf = ({ path, block, shown }: Snippet): CodeBlock => {
  if (shown === undefined) throw new Error(`${path}:${block.line} shows no answer`);
  return shown;
};

test('all kinds of snippets are found', () => {
  const count = (language: string) => snippets.filter(({ block }) => block.language === language).length;
  expect(count('sh')).toBeGreaterThanOrEqual(12);
  expect([count('js'), count('python'), count('html')]).toEqual([3, 1, 2]);
});

describe('the snippets', () => {
  for (const snippet of commands) {
    const { path, block } = snippet;
    const { program } = interpreters[block.language]!;
    const needed = block.code.includes('curl ') ? 'curl' : program;
    const name = `${path}:${block.line}: ${block.code.split('\n')[0]?.slice(0, 70)}`;
    test.skipIf(Bun.which(needed) === null)(name, async () => {
      const { language, code } = answerOf(snippet);
      expect(essenceOf(await run(snippet), language)).toEqual(essenceOf(code, language));
    });
  }
});

/** What a person chooses in the file input of a document. */
const chosen: Readonly<Record<string, readonly string[]>> = {
  photos: ['banana.png', 'wave.jpg'],
  video: ['cockatoo.mp4'],
};

describeInBrowser('the documents for browsers', () => {
  const stage = useStage();

  for (const snippet of documents) {
    const { path, block } = snippet;
    test(`${path}:${block.line}`, async () => {
      const html = block.code.replaceAll(address, stage.service.url);
      await using site = Bun.serve({
        port: 0,
        fetch: () => new Response(html, { headers: { 'content-type': 'text/html; charset=utf-8' } }),
      });
      const visit = async (tab: Page) => {
        const input = tab.locator('input[type=file]');
        const names = chosen[(await input.getAttribute('id')) ?? ''] ?? [];
        await input.setInputFiles(names.map((name) => join(folder, name)));
        await tab.locator('#answer:not(:empty)').waitFor();
        const answer = (await tab.locator('#answer').textContent()) ?? '';
        expect(essenceOf(answer, 'json')).toEqual(essenceOf(answerOf(snippet).code, 'json'));
        const bar = tab.locator('progress');
        if (await bar.count()) expect(await bar.getAttribute('value')).toBe('1');
        else expect(await tab.locator('#progress').textContent()).toMatch(/^[a-z]+ /);
      };
      await stage.visit(visit, { address: site.url.href });
    });
  }
});
