import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Colour, colourPicture } from '../fixtures/colour-pictures.ts';
import { makeVideo } from '../fixtures/videos.ts';
import { type Service, startService } from '../service/service.ts';
import { type CodeBlock, codeBlocks, page } from './markdown.ts';

/** How a block of a language is run, by what, from a file that holds it; blocks of other languages are not run. */
const interpreters: Readonly<Record<string, { readonly program: string; readonly extension: string }>> = {
  sh: { program: 'sh', extension: 'sh' },
  js: { program: process.execPath, extension: 'mjs' },
  python: { program: 'python3', extension: 'py' },
};
const answerLanguages = new Set(['json', 'jsonl']);

interface Snippet {
  readonly block: CodeBlock;
  /** The answer that the page shows for it. */
  readonly shown: CodeBlock | undefined;
}

const readme = await page('README.md');
const blocks = codeBlocks(readme);
/** Everything that asks a service; commands that start one are for the container's and the service's tests. */
const snippets: readonly Snippet[] = blocks.flatMap((block, index) => {
  const asks = block.language in interpreters && block.code.includes('http://localhost:8080');
  const next = blocks[index + 1];
  return asks ? [{ block, shown: next && answerLanguages.has(next.language) ? next : undefined }] : [];
});

/** Photos of one colour each, in the place of the ones that the page speaks of. */
const photos: Readonly<Record<string, Colour>> = {
  'banana.png': [245, 215, 40],
  'wave.jpg': [35, 70, 200],
  'pug.jpg': [110, 65, 30],
};

let folder: string;
let service: Service;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
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
  const [, categories] = /`(\{"categories": .+?\})`/.exec(readme) ?? [];
  await writeFile(join(folder, 'categories.json'), categories ?? 'the page does not show it');
  await service.ready();
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Runs a block in a folder with its files, asking the service of the test. */
async function run({ language, code, line }: CodeBlock): Promise<string> {
  const { program, extension } = interpreters[language]!;
  const file = join(folder, `line-${line}.${extension}`);
  await writeFile(file, code.replaceAll('http://localhost:8080', service.url));
  const child = Bun.spawn([program, file], { cwd: folder, stdout: 'pipe', stderr: 'pipe' });
  const [output, faults] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`line ${line} fails: ${faults}`);
  return output;
}

/**
 * What an answer says, without what differs from photo to photo: numbers, times in frames' names, frames themselves,
 * which the page shows only the beginning of.
 */
function essence(value: unknown): unknown {
  if (typeof value === 'number') return 'a number';
  if (typeof value === 'string') {
    return value.startsWith('/9j/') ? 'a JPEG' : value.replace(/-\d+\.\d{3}\.jpg$/, '-SECONDS.jpg');
  }
  if (Array.isArray(value)) return value.map(essence);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, essence(inner)]));
}

/** A stream's lines are as many as the work takes: its kinds of lines are what counts. */
const essenceOfLines = (text: string) => {
  const events = text
    .trim()
    .split('\n')
    .map((line) => essence(JSON.parse(line)) as Record<string, unknown>);
  return { first: events[0]?.event, last: events.at(-1) };
};

describe('the README’s snippets', () => {
  test('are found', () => {
    const languages = snippets.map(({ block }) => block.language);
    expect(languages.filter((language) => language === 'sh').length).toBeGreaterThanOrEqual(6);
    expect(languages).toContain('js');
    expect(languages).toContain('python');
  });

  for (const { block, shown } of snippets) {
    const { language, line, code } = block;
    const { program } = interpreters[language]!;
    const needed = language === 'sh' ? 'curl' : program;
    const missing = Bun.which(needed) === null;
    test.skipIf(missing)(`line ${line}: ${code.split('\n')[0]?.slice(0, 70)}`, async () => {
      const output = await run(block);
      if (shown === undefined) throw new Error(`line ${line} shows no answer`);
      if (shown.language === 'jsonl') expect(essenceOfLines(output)).toEqual(essenceOfLines(shown.code));
      else expect(essence(JSON.parse(output))).toEqual(essence(JSON.parse(shown.code)));
    });
  }
});
