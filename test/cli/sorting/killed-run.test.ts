import { describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { readMoveLog, undoMove } from '../../../src/cli/sorting/move-log.ts';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { KilledError, operationsUnder } from './breaking-operations.ts';
import { actions, readPhotos, sortAll, sources, taken } from './sorting.ts';

describe('a run that is killed', () => {
  const disks: readonly [name: string, isOther: boolean, hasLinks: boolean][] = [
    ['on one disk', false, true],
    ['on one disk without links', false, false],
    ['to another disk', true, true],
    ['to another disk without links', true, false],
  ];
  for (const action of actions) {
    for (const [disk, isOther, hasLinks] of disks) {
      test(`loses nothing, and is completed by the next one: ${action} ${disk}`, async () => {
        const circumstancesOf = (folder: TemporaryFolder) => ({
          ...(isOther && { otherDisk: folder.at('sorted') }),
          hasLinks,
        });
        await using whole = await temporaryFolder();
        await whole.write({ ...sources, ...taken });
        const steps = await sortAll(whole, action, circumstancesOf(whole));
        const expected = await readPhotos(whole);
        expect(Object.keys(expected).length).toBe(action === 'move' ? 5 : 9);

        for (let killedAfter = 0; killedAfter < steps; killedAfter++) {
          await using folder = await temporaryFolder();
          await folder.write({ ...sources, ...taken });
          const circumstances = circumstancesOf(folder);
          const sorting = sortAll(folder, action, { ...circumstances, killedAfter });
          await sorting.then(
            () => expect.unreachable(),
            (fault) => expect(fault).toBeInstanceOf(KilledError),
          );
          const left = Object.entries(await readPhotos(folder)).filter(([name]) => !name.endsWith('.part'));
          for (const content of [...Object.values(sources), ...Object.values(taken)]) {
            expect(left.map(([, found]) => found)).toContain(content);
          }
          await sortAll(folder, action, circumstances);
          const completed = await readPhotos(folder);
          expect(completed).toEqual(expected);
        }
      });
    }
  }

  for (const [disk, isOther, hasLinks] of disks) {
    test(`keeps a photo and its companions together, and can be undone: move ${disk}`, async () => {
      const family = {
        'a/x.jpg': 'photo',
        'a/x.jpg.xmp': 'edits',
        'a/x.mov': 'video',
        'b/x.jpg': 'another',
        'sorted/cat/x.mov': 'theirs',
      };
      const circumstancesOf = (folder: TemporaryFolder) => ({
        ...(isOther && { otherDisk: folder.at('sorted') }),
        hasLinks,
      });
      const whole = {
        'sorted/cat/x (2).jpg': 'photo',
        'sorted/cat/x (2).jpg.xmp': 'edits',
        'sorted/cat/x (2).mov': 'video',
        'sorted/cat/x (3).jpg': 'another',
        'sorted/cat/x.mov': 'theirs',
      };
      for (let killedAfter = 0; ; killedAfter++) {
        await using completed = await temporaryFolder();
        await using undone = await temporaryFolder();
        let isKilled = false;
        for (const folder of [completed, undone]) {
          await folder.write(family);
          await sortAll(folder, 'move', { ...circumstancesOf(folder), killedAfter }).catch((fault) => {
            expect(fault).toBeInstanceOf(KilledError);
            isKilled = true;
          });
        }
        await sortAll(completed, 'move', circumstancesOf(completed));
        expect(await readPhotos(completed)).toEqual(whole);

        const operations = operationsUnder(circumstancesOf(undone));
        for (const name of await readdir(undone.at('sorted'))) {
          if (!name.endsWith('.jsonl')) continue;
          // The log may have been cut before its first line was complete.
          const log = await readMoveLog(undone.at('sorted', name)).catch(() => undefined);
          for (const move of log?.moves.toReversed() ?? []) {
            if (move.state === 'cancelled') continue;
            const options = { operations, companionsOf: async () => [], isDry: false };
            const outcomes = await undoMove(move, options);
            expect(outcomes.filter(({ kind }) => kind === 'fault')).toEqual([]);
          }
        }
        const files = Object.entries(await readPhotos(undone)).filter(([name]) => !name.endsWith('.part'));
        expect(Object.fromEntries(files)).toEqual(family);
        if (!isKilled) break;
      }
    });
  }

  test('does not take another file for the one that it had begun to move', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    const otherDisk = folder.at('sorted');
    // Folder, sync, log, sync, move, sync, failed link, copy, sync, link, sync: the next step removes the source.
    await sortAll(folder, 'move', { otherDisk, killedAfter: 11 }).catch(() => undefined);
    expect(Object.values(await readPhotos(folder))).toEqual(['first', 'first', 'first']);
    await folder.write({ 'a/x.jpg': 'a new one of the same name' });
    await sortAll(folder, 'move', { otherDisk });
    expect(await readPhotos(folder)).toEqual({
      'sorted/cat/x (2).jpg': 'a new one of the same name',
      'sorted/cat/x.jpg': 'first',
    });
  });

  test('leaves nothing through which the next copy writes into the last one', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    // Everything except the removal of the temporary name.
    await sortAll(folder, 'copy', { killedAfter: 6 }).catch(() => undefined);
    expect(Object.values(await readPhotos(folder))).toEqual(['first', 'first', 'first']);
    await folder.write({ 'a/x.jpg': 'changed' });
    await sortAll(folder, 'copy');
    expect(await readPhotos(folder)).toEqual({
      'a/x.jpg': 'changed',
      'sorted/cat/x (2).jpg': 'changed',
      'sorted/cat/x.jpg': 'first',
    });
  });
});
