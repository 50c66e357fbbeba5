import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { foldCase } from '../../src/file-names.ts';
import { namesText, plannedFiles, type SavedGroup } from '../../src/page/save/planned-files.ts';

const group = (name: string, ...paths: string[]): SavedGroup => ({
  name,
  photos: paths.map((path) => ({ path, file: new File([path], path) })),
});
const planned = (...groups: SavedGroup[]) =>
  plannedFiles(groups).map(({ folder, name }) => `${folder}/${name}`);

describe('photos that are saved', () => {
  test('are in a folder for each group, without the folders they came from', () => {
    expect(
      planned(group('dog', 'holiday/day 1/a.jpg', 'b.jpg'), group('none'), group('猫', 'a.jpg')),
    ).toEqual(['dog/a.jpg', 'dog/b.jpg', '猫/a.jpg']);
  });

  test('keep apart what has the same name', () => {
    expect(planned(group('dog', 'x/a.jpg', 'y/a.jpg', 'y/A.JPG', 'a (2).jpg', 'z/a.jpg'))).toEqual([
      'dog/a.jpg',
      'dog/a (2).jpg',
      'dog/A (3).JPG',
      'dog/a (2) (2).jpg',
      'dog/a (4).jpg',
    ]);
    expect(planned(group('a/b', '1.jpg'), group('A_b', '1.jpg'))).toEqual(['a_b/1.jpg', 'A_b (2)/1.jpg']);
  });

  test('overwrite nothing if a category is called as another group', () => {
    expect(planned(group('Unsure', 'x/a.jpg'), group('Unsure', 'y/a.jpg', 'b.jpg'))).toEqual([
      'Unsure/a.jpg',
      'Unsure/a (2).jpg',
      'Unsure/b.jpg',
    ]);
  });

  test('have names that every file system takes', () => {
    expect(planned(group('../..', '..', 'a:b?.jpg', 'con.jpg', '.hidden', 'e\u0301.jpg'))).toEqual([
      '___/__',
      '___/a_b_.jpg',
      '___/con_.jpg',
      '___/_hidden',
      '___/\u00e9.jpg',
    ]);
  });

  test('are all there, each at a place of its own', () => {
    const path = fc.string({
      unit: fc.constantFrom('a', 'A', '.', ' ', '/', '(', '2', ')', 'é'),
      maxLength: 6,
    });
    const groups = fc.uniqueArray(fc.tuple(fc.string(), fc.array(path, { maxLength: 12 })), {
      maxLength: 5,
      selector: ([name]) => name,
    });
    fc.assert(
      fc.property(groups, (all) => {
        const wanted = all.map(([name, paths]) => group(name, ...paths));
        const places = planned(...wanted);
        expect(places).toHaveLength(all.reduce((sum, [, paths]) => sum + paths.length, 0));
        expect(new Set(places.map(foldCase)).size).toBe(places.length);
      }),
    );
  });

  test('that all have one name are planned in a moment', () => {
    const many = group('dog', ...Array.from({ length: 20_000 }, (_, index) => `${index}/image.jpg`));
    expect(planned(many).at(-1)).toBe('dog/image (20000).jpg');
  });
});

test('the list of names has a paragraph for each group', () => {
  expect(namesText([group('dog', 'x/a.jpg', 'b.jpg'), group('none'), group('cat', 'c.jpg')])).toBe(
    'dog\nx/a.jpg\nb.jpg\n\ncat\nc.jpg\n',
  );
});
