import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import * as v from 'valibot';
import { type Report, reportSchema } from '../../src/evaluate/report.ts';
import { startCommand } from '../cli/command.ts';
import { type TemporaryFolder, temporaryFolder } from '../cli/temporary-folder.ts';
import { type Colour, colourPicture } from '../fixtures/colour-pictures.ts';
import { sortedPhotos } from '../fixtures/sorted-photos.ts';

const colours = {
  red: [205, 25, 35],
  green: [40, 150, 50],
  blue: [35, 70, 200],
  orange: [250, 150, 40],
} as const satisfies Record<string, Colour>;

let pictures: Readonly<Record<keyof typeof colours, Uint8Array>>;
let cache: TemporaryFolder;
let sorted: TemporaryFolder;

const start = (argv: readonly string[], environment: Record<string, string> = {}) =>
  startCommand(cache.path, argv, environment, 'src/evaluate/main.ts');
const run = (argv: readonly string[], environment: Record<string, string> = {}) =>
  start(argv, environment).result;

/** One way of asking, where it does not matter which. */
const once = ['--fit', 'crop', '--template', 'none'];

/** Runs the program, and checks its JSON. */
async function evaluate(argv: readonly string[]): Promise<{ report: Report; code: number; stderr: string }> {
  const { stdout, stderr, code } = await run([...argv, '--json']);
  return { report: v.parse(v.strictObject(reportSchema.entries), JSON.parse(stdout)), code, stderr };
}

beforeAll(async () => {
  cache = await temporaryFolder();
  sorted = await temporaryFolder();
  const [red, green, blue, orange] = await Promise.all(
    Object.values(colours).map((colour) => colourPicture(colour, 'jpeg', 64, 64)),
  );
  pictures = { red: red!, green: green!, blue: blue!, orange: orange! };
  // Of ten photos with a category, two are in wrong folders.
  await sorted.write({
    'p/something_red/1.jpg': pictures.red,
    'p/something_red/2.jpg': pictures.red,
    'p/something_red/old/3.jpg': pictures.red,
    'p/something_red/wrong.jpg': pictures.blue,
    'p/green/1.jpg': pictures.green,
    'p/green/2.jpg': pictures.green,
    'p/green/3.jpg': pictures.green,
    'p/green/wrong.jpg': pictures.red,
    'p/blue/1.jpg': pictures.blue,
    'p/blue/2.jpg': pictures.blue,
    'p/blue/notes.txt': 'not a photo',
    'p/none/1.jpg': pictures.orange,
  });
});

afterAll(async () => {
  await Promise.all([cache[Symbol.asyncDispose](), sorted[Symbol.asyncDispose]()]);
});

describe('evaluating a folder', () => {
  test('finds the known right answers and confusions, with each template', async () => {
    const { report, code } = await evaluate([sorted.at('p')]);
    expect(code).toBe(0);
    expect(report).toMatchObject({
      photos: 10,
      none_photos: 1,
      largest_category: { category: 'green', share: 0.4 },
      unreadable: [],
      int8_changes: [],
      model: { name: 'demo' },
      precision_note: expect.stringContaining('int8 is not measured, because demo is served in fp32.'),
    });
    expect(report.results.map(({ fit, template, right }) => [fit, template, right])).toContainEqual([
      'crop',
      'ensemble',
      8,
    ]);
    for (const { right, accuracy, low, high, categories } of report.results) {
      expect([right, accuracy]).toEqual([8, 0.8]);
      // Wilson's interval for 8 of 10.
      expect([low, high]).toEqual([expect.closeTo(0.4902, 4), expect.closeTo(0.9433, 4)]);
      expect(categories).toEqual([
        { category: 'blue', photos: 2, right: 2, taken_for: [] },
        { category: 'green', photos: 4, right: 3, taken_for: [{ category: 'something red', photos: 1 }] },
        { category: 'something red', photos: 4, right: 3, taken_for: [{ category: 'blue', photos: 1 }] },
      ]);
    }
    const wrong = report.wrong.filter(({ category }) => category !== null);
    expect(wrong.map(({ file, category, answer }) => [file, category, answer]).toSorted()).toEqual([
      [sorted.at('p/green/wrong.jpg'), 'green', 'something red'],
      [sorted.at('p/something_red/wrong.jpg'), 'something red', 'blue'],
    ]);
  });

  test('shows tables of at most 80 columns, and the recommended options', async () => {
    const { stdout, stderr, code } = await run([sorted.at('p')]);
    expect(code).toBe(0);
    expect(stdout).toStartWith('10 photos in 3 categories, 1 of no category. Model: demo (sha256');
    expect(stdout).toMatch(/^crop +none +8 {2}80\.0 % {2}49–94$/m);
    expect(stdout).toMatch(/^green +4 +3 +75\.0 % {2}something red \(1\)$/m);
    expect(stdout).toContain(`  ${sorted.at('p/green/wrong.jpg')}: something red (`);
    expect(stdout).toMatch(/^Recommended: /m);
    const widest = stdout.split('\n').filter((line) => !line.includes(sorted.path));
    expect(Math.max(...widest.map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(80);
    expect(stderr).toContain('11 measured in ');
    expect(stderr).toContain('once for each fit (crop, whole, tiles), in each precision. --fit chooses some');
  });

  test('compares both precisions', async () => {
    const argv = [sorted.at('p'), ...once];
    const { report } = await evaluate([...argv, '--precision', 'int8', '--precision', 'fp32']);
    expect(report.results.map(({ precision }) => precision).toSorted()).toEqual(['fp32', 'int8']);
    expect(report.passes.map(({ photos }) => photos)).toEqual([11, 11]);
    expect(report.int8_changes).toEqual([
      {
        fit: 'crop',
        template: 'none',
        changed: 0,
        right_to_wrong: 0,
        wrong_to_right: 0,
        wrong_to_wrong: 0,
        p_value: 1,
      },
    ]);
  });

  test('finds the fit that sees what lies outside the crop, and answers as the command line does', async () => {
    await using folder = await temporaryFolder();
    await folder.write(await sortedPhotos());
    const { report } = await evaluate([folder.path, '--template', 'none']);
    expect(report.results.map(({ fit, right }) => [fit, right])).toEqual([
      ['crop', 18],
      ['whole', 24],
      ['tiles', 24],
    ]);
    // `tiles` would take longer.
    expect(report.recommended).toMatchObject({
      fit: 'whole',
      default_right: 18,
      p_value: expect.closeTo(2 / 64, 12),
    });
    expect(report.recommended.options.slice(0, 2)).toEqual(['--fit', 'whole']);
    const categories = ['blue', 'green', 'red'].flatMap((label) => ['--category', label]);
    const options = ['--fit', 'whole', '--json', '--no-index', '--quiet'];
    const argv = [folder.path, ...categories, ...options];
    const { stdout } = await startCommand(cache.path, argv).result;
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(report.wrong).toHaveLength(7);
    for (const { file, answer, score } of report.wrong) {
      const same = answers.find((one) => one.file === file);
      expect(same.category).toBe(answer);
      if (!report.recommended.others) expect(same.score).toBeCloseTo(score, 2);
    }
  });

  test('writes the same report to a file', async () => {
    await using folder = await temporaryFolder();
    const file = folder.at('report.json');
    const argv = [sorted.at('p'), ...once];
    const { stdout, code } = await run([...argv, '--output', file]);
    expect([code, stdout.slice(0, 9)]).toEqual([0, '10 photos']);
    const withoutTimes = ({ passes: _, ...report }: Report) => report;
    const written = v.parse(reportSchema, await Bun.file(file).json());
    expect(withoutTimes(written)).toEqual(withoutTimes((await evaluate(argv)).report));
    const again = await run([...argv, '--output', file]);
    expect([again.code, again.stdout]).toEqual([2, '']);
    expect(again.stderr).toContain(`${file} already exists`);
  });
});

describe('a folder with faults', () => {
  test('broken photos are named and counted, and the others measured', async () => {
    await using folder = await temporaryFolder();
    await folder.write({
      'red/1.jpg': pictures.red,
      'red/cut.jpg': pictures.red.subarray(0, pictures.red.length / 2),
      'green/1.jpg': pictures.green,
      'blue/cut.jpg': pictures.blue.subarray(0, pictures.blue.length / 2),
    });
    const { report, code, stderr } = await evaluate([folder.path, ...once]);
    expect(code).toBe(1);
    expect(stderr).toContain(`${folder.at('red/cut.jpg')}: The JPEG picture is truncated`);
    expect(report.photos).toBe(2);
    expect(report.unreadable.map(({ file, code: why }) => [file, why])).toEqual([
      [folder.at('blue/cut.jpg'), 'image_broken'],
      [folder.at('red/cut.jpg'), 'image_broken'],
    ]);
    // A category whose photos are all broken still competes.
    expect(report.results[0]?.categories.map(({ category, photos }) => [category, photos])).toEqual([
      ['blue', 0],
      ['green', 1],
      ['red', 1],
    ]);
  });

  test('subfolders without photos are left out, and named', async () => {
    await using folder = await temporaryFolder();
    await folder.write({
      'red/1.jpg': pictures.red,
      'green/1.jpg': pictures.green,
      'notes/1.txt': 'not a photo',
      'later/.keep': '',
    });
    const { report, code, stderr } = await evaluate([folder.path, ...once]);
    expect(code).toBe(0);
    expect(stderr).toContain('the subfolder "later" has no files; left out.');
    expect(stderr).toContain('No photos of "notes". The subfolders of these names are left out.');
    expect(report.results[0]?.categories.map(({ category }) => category)).toEqual(['green', 'red']);
  });

  test('categories of a file compete without photos', async () => {
    await using folder = await temporaryFolder();
    await folder.write({
      'p/red/1.jpg': pictures.red,
      'p/green/1.jpg': pictures.blue,
      'all.txt': 'red\ngreen\nblue',
    });
    const { report, stderr } = await evaluate([
      folder.at('p'),
      '--categories',
      folder.at('all.txt'),
      ...once,
    ]);
    expect(stderr).toContain('No photos of "blue". They compete with the others, but are not measured.');
    expect(report.results[0]?.categories[1]).toEqual({
      category: 'green',
      photos: 1,
      right: 0,
      taken_for: [{ category: 'blue', photos: 1 }],
    });
  });

  test('categories of a file may have several phrases, and synonyms are named', async () => {
    await using folder = await temporaryFolder();
    await folder.write({
      'p/warm/1.jpg': pictures.red,
      'p/cold/1.jpg': pictures.blue,
      'p/chilly/1.jpg': pictures.blue,
      'all.json': '{"categories": {"warm": ["red", "orange"], "cold": "blue", "chilly": ["a blue thing"]}}',
    });
    const argv = [folder.at('p'), '--categories', folder.at('all.json'), ...once];
    const { report } = await evaluate(argv);
    expect(report.results[0]?.categories.map(({ category, right }) => [category, right])).toEqual([
      ['warm', 1],
      ['cold', 1],
      ['chilly', 0],
    ]);
    expect(report.similar_categories).toEqual([
      { categories: ['cold', 'chilly'], similarity: expect.closeTo(1, 5) },
    ]);
    expect((await run(argv)).stdout).toContain('  cold and chilly (1.000)\n');
  });

  test('an empty folder, and one without subfolders, are refused', async () => {
    await using folder = await temporaryFolder();
    const empty = await run([folder.path]);
    expect([empty.code, empty.stdout]).toEqual([2, '']);
    expect(empty.stderr).toBe(
      `${folder.path} has no subfolders with photos. Put the photos of each category into a subfolder with its name.\n`,
    );
    await folder.write({ '1.jpg': pictures.red });
    expect((await run([folder.path])).code).toBe(2);
  });

  test('one category needs photos of no category', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'red/1.jpg': pictures.red, 'red/2.jpg': pictures.red });
    const alone = await run([folder.path]);
    expect(alone.code).toBe(2);
    expect(alone.stderr).toContain('has only one category, "red": every photo fits it best.');
    await folder.write({ 'none/1.jpg': pictures.blue });
    const { report, code } = await evaluate([folder.path, ...once]);
    expect(code).toBe(0);
    expect(report).toMatchObject({ photos: 2, none_photos: 1 });
    // Only scores against the background tell the photos apart.
    expect(report.recommended).toMatchObject({ others: true, right: 2, wrong: 0, unanswered: 1 });
  });

  test('a label that is too long is refused before any photo is read', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ [`${'7'.repeat(100)}/1.jpg`]: pictures.red, 'b/1.jpg': pictures.blue });
    const { code, stderr, stdout } = await run([folder.path]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('tokens');
    expect(stderr).not.toContain('measured');
  });
});

test('Ctrl-C ends the program, and leaves no file', async () => {
  await using folder = await temporaryFolder();
  await folder.write(
    Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [
        `p/${index % 2 ? 'red' : 'green'}/${index}.jpg`,
        pictures[index % 2 ? 'red' : 'green'],
      ]),
    ),
  );
  const command = start([folder.at('p'), '--output', folder.at('report.json')]);
  // The output is reserved before the model is loaded.
  while (!(await Bun.file(folder.at('report.json')).exists())) await Bun.sleep(2);
  command.kill('SIGINT');
  const { code, stdout, stderr } = await command.result;
  expect([code, stdout]).toEqual([130, '']);
  expect(stderr).toContain('Interrupted: ');
  expect(Object.keys(await folder.read()).filter((name) => !name.startsWith('p/'))).toEqual([]);
});

test('help and wrong options need no model', async () => {
  const [help, wrong] = await Promise.all([run(['--help']), run(['x', '--nonsense'])]);
  expect([help.code, help.stderr]).toEqual([0, '']);
  expect(help.stdout).toContain('bun run evaluate FOLDER');
  expect([wrong.code, wrong.stdout]).toEqual([2, '']);
});
