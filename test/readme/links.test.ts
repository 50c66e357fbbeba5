import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { page, pagePaths, repository, withoutCode } from './markdown.ts';

/** The anchor that GitHub makes. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

/** The links of a page to the repository's files, as [file, anchor]. */
async function localLinks(path: string): Promise<readonly (readonly [string, string | undefined])[]> {
  const targets = [...withoutCode(await page(path)).matchAll(/\]\(([^)\s]+)\)/g)].map(
    ([, target = '']) => target,
  );
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = '', anchor] = target.split('#');
      return [file === '' ? path : join(dirname(path), file), anchor] as const;
    });
}

test('the README leads to every page', async () => {
  const reached = new Set(['README.md']);
  for (const path of reached) {
    for (const [file] of await localLinks(path)) if (pagePaths.includes(file)) reached.add(file);
  }
  expect([...reached].toSorted()).toEqual(pagePaths.toSorted());
  expect(pagePaths).toContain('docs/api.md');
});

for (const path of pagePaths) {
  test(`links of ${path} lead somewhere`, async () => {
    const lost: string[] = [];
    for (const [file, anchor] of await localLinks(path)) {
      if (!existsSync(join(repository, file))) lost.push(file);
      else if (anchor !== undefined) {
        const headings = [...withoutCode(await page(file)).matchAll(/^#+ (.+)$/gm)].map(
          ([, heading = '']) => heading,
        );
        if (!headings.map(anchorOf).includes(anchor)) lost.push(`${file}#${anchor}`);
      }
    }
    expect(lost).toEqual([]);
  });
}
