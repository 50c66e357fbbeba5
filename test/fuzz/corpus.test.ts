import { expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { groupNames, loadTarget } from './target.ts';

test.each([...groupNames])(
  '%s: every seed and every input of the corpus is read or refused as foreseen',
  async (group) => {
    const target = await loadTarget(group);
    const folder = join(import.meta.dir, 'corpus', group);
    const files = readdirSync(folder).sort();
    expect(files.length).toBeGreaterThan(20);
    for (const seed of await target.seeds()) await target.run(seed);
    for (const file of files) {
      try {
        await target.run(new Uint8Array(readFileSync(join(folder, file))));
      } catch (fault) {
        throw new Error(`bun test/fuzz/replay.ts ${group} test/fuzz/corpus/${group}/${file}`, {
          cause: fault,
        });
      }
    }
  },
);
