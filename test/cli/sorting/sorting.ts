import { createSorter } from '../../../src/cli/sorting/sorter.ts';
import type { TemporaryFolder } from '../temporary-folder.ts';
import { type Circumstances, operationsUnder } from './breaking-operations.ts';

export const actions = ['move', 'copy'] as const;
export type Action = (typeof actions)[number];

export function sorterIn(folder: TemporaryFolder, action: Action, circumstances: Circumstances = {}) {
  const operations = operationsUnder(circumstances);
  const directory = folder.at('sorted');
  return { operations, ...createSorter({ directory, labels: ['cat', 'dog'], action, operations }) };
}

/** Sorts all files that still exist into "cat", as a run does. */
export async function sortAll(folder: TemporaryFolder, action: Action, circumstances: Circumstances = {}) {
  const { operations, place, finish, recover } = sorterIn(folder, action, circumstances);
  await recover();
  for (const name of ['a/x.jpg', 'b/x.jpg', 'c/x.jpg', 'c/y.jpg']) {
    if (await Bun.file(folder.at(name)).exists()) await place(folder.at(name), 'cat');
  }
  await finish();
  return operations.steps;
}

/** The files of a folder without the logs of moves, whose names have the time. */
export async function readPhotos(folder: TemporaryFolder): Promise<Record<string, string>> {
  const files = Object.entries(await folder.read());
  return Object.fromEntries(files.filter(([name]) => !/classify-moves-[^/]*\.jsonl$/.test(name)));
}

export const sources = { 'a/x.jpg': 'first', 'b/x.jpg': 'second', 'c/x.jpg': 'third', 'c/y.jpg': 'other' };
export const taken = { 'sorted/cat/x.jpg': 'theirs' };
