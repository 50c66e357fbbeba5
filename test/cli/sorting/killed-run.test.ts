import { describe, expect, test } from 'bun:test';
import { type TemporaryFolder, temporaryFolder } from '../temporary-folder.ts';
import { KilledError } from './breaking-operations.ts';
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

  test('does not take another file for the one that it had begun to move', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'a/x.jpg': 'first' });
    const otherDisk = folder.at('sorted');
    // Folder, its sync, log, move, sync, failed link, copy, sync, link, sync: the next step removes the source.
    await sortAll(folder, 'move', { otherDisk, killedAfter: 10 }).catch(() => undefined);
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
