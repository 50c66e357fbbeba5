import { describe, expect, test } from 'bun:test';
import type { Answers, VideoRequest } from '../../../src/cli/answers/answers.ts';
import { ServiceError } from '../../../src/errors.ts';
import { pictureOf } from '../fake-classifier.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { runTask } from './run-task.ts';

describe('the best photos', () => {
  test('are printed, a line a category', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/1.gif': pictureOf('dog'), 'p/2.gif': pictureOf('broken'), 'p/3': 'text' });
    const { stdout, stderr, tally } = await runTask([folder.at('p'), '--best', '--threshold', '0.5']);
    expect(stdout).toBe(`cat\t-\ndog\t${folder.at('p/1.gif')}\na/b\t-\n`);
    expect(stderr).toBe(`${folder.at('p/2.gif')}: It is broken.\n`);
    expect([tally.answered, tally.undecided, tally.faults]).toEqual([1, 2, 1]);
  });

  test('are copied into folders by category', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/1.gif': pictureOf('dog'), 'p/2.gif': pictureOf('a/b') });
    const command = [folder.at('p'), '--best', '--json', '--copy-to', folder.at('p/best')];
    const { stdout } = await runTask(command);
    const records = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(records.map(({ category, file }) => [category, file.slice(folder.path.length)])).toEqual([
      ['cat', '/p/1.gif'],
      ['dog', '/p/1.gif'],
      ['a/b', '/p/2.gif'],
    ]);
    expect(records[1].scores[0]).toEqual({ file: folder.at('p/1.gif'), score: 0.9, similarity: 0.3 });
    const copied = await folder.read();
    expect(Object.keys(copied)).toEqual([
      'p/1.gif',
      'p/2.gif',
      'p/best/a_b/2.gif',
      'p/best/cat/1.gif',
      'p/best/dog/1.gif',
    ]);
    await runTask(command);
    expect(await folder.read()).toEqual(copied);
  });

  test('may be planned only', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/1.gif': pictureOf('dog') });
    const command = [
      folder.at('p'),
      '--best',
      '--copy-to',
      folder.at('s'),
      '--dry-run',
      '--threshold',
      '0.5',
    ];
    const { stdout } = await runTask(command);
    expect(stdout.replaceAll(folder.path, '')).toBe('cat\t-\t-\ndog\t/p/1.gif\t/s/dog/1.gif\na/b\t-\t-\n');
    expect(Object.keys(await folder.read())).toEqual(['p/1.gif']);
  });

  test('go into a file that is not there yet', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'p/1.gif': pictureOf('dog') });
    const command = [folder.at('p'), '--best', '--csv', '--output', folder.at('out.csv')];
    await runTask(command);
    expect(await Bun.file(folder.at('out.csv')).text()).toStartWith('category,file,score,similarity\ncat,');
    const again = await runTask(command);
    expect(String(again.fault)).toContain('out.csv already exists');
    expect(again.asked).toEqual([]);
  });
});

/** Answers with one frame that is the best for two categories. */
function videoAnswers(search: (request: VideoRequest) => Promise<void> = async () => undefined): Answers {
  const standing = { score: 0.9, similarity: 0.3, scores: [{ timestamp: 1.5, score: 0.9, similarity: 0.3 }] };
  const moments = [{ start: 1, end: 2, timestamp: 1.5, similarity: 0.3 }];
  return {
    model: { name: 'fake', precision: 'fp32', sha256: '0' },
    categorize: () => {
      throw new Error('nobody asks');
    },
    best: () => Promise.reject(new Error('nobody asks')),
    async video(request) {
      await search(request);
      request.onProgress(1, 2);
      await request.takeJpeg?.(1.5, ['cat', 'a/b'], Buffer.from('a frame'));
      return {
        frames: [
          { category: 'cat', timestamp: 1.5, ...standing, ...(request.moments && { moments }) },
          { category: 'dog', timestamp: null, ...standing },
          { category: 'a/b', timestamp: 1.5, ...standing },
        ],
        warnings: ['It ends early.'],
      };
    },
    async [Symbol.asyncDispose]() {},
  };
}

describe('the best frames', () => {
  test('are listed', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const command = ['--video', folder.at('film.mp4')];
    const { stdout, stderr } = await runTask(command, { answers: videoAnswers() });
    expect(stdout).toBe('cat\tfilm-1.500.jpg\ndog\t-\na/b\tfilm-1.500.jpg\n');
    expect(stderr).toBe(`${folder.at('film.mp4')}: It ends early.\n`);
    const table = await runTask([...command, '--csv'], { answers: videoAnswers() });
    expect(table.stdout).toBe(
      'category,file,timestamp,score,similarity\n' +
        'cat,film-1.500.jpg,1.5,0.9,0.3\ndog,,,0.9,0.3\na/b,film-1.500.jpg,1.5,0.9,0.3\n',
    );
  });

  test('come with the moments, if they are asked for', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const requests: VideoRequest[] = [];
    const answers = videoAnswers(async (request) => void requests.push(request));
    const command = ['--video', folder.at('film.mp4'), '--json', '--thorough', '--moments'];
    const { stdout } = await runTask(command, { answers });
    expect(requests).toMatchObject([{ thorough: true, moments: true }]);
    expect(JSON.parse(stdout.split('\n')[0] ?? '')).toMatchObject({
      category: 'cat',
      moments: [{ start: 1, end: 2, timestamp: 1.5, similarity: 0.3 }],
    });
  });

  test('are kept as pictures, and a second time changes nothing', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const command = ['--video', folder.at('film.mp4'), '--copy-to', folder.at('frames')];
    for (let time = 0; time < 2; time++) {
      await runTask(command, { answers: videoAnswers() });
      expect(await folder.read()).toEqual({
        'film.mp4': 'a film',
        'frames/a_b/film-1.500.jpg': 'a frame',
        'frames/cat/film-1.500.jpg': 'a frame',
      });
    }
  });

  test('are none where the video is missing, or broken', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const answers = videoAnswers(() => Promise.reject(new ServiceError('video_broken', 'It is damaged.')));
    const damaged = await runTask(['--video', folder.at('film.mp4')], { answers });
    expect([damaged.stderr, damaged.tally.faults]).toEqual([`${folder.at('film.mp4')}: It is damaged.\n`, 1]);
    const missing = await runTask(['--video', folder.at('none.mp4')]);
    expect(missing.stderr).toContain('none.mp4: It cannot be read, because it does not exist.');
    const noFile = await runTask(['--video', folder.path]);
    expect(noFile.stderr).toContain('It is not a file.');
  });

  test('are not looked for any more where something else breaks', async () => {
    await using folder = await temporaryFolder();
    await folder.write({ 'film.mp4': 'a film' });
    const answers = videoAnswers(() => Promise.reject(new Error('the engine broke')));
    const { fault } = await runTask(['--video', folder.at('film.mp4')], { answers });
    expect(fault).toEqual(new Error('the engine broke'));
  });
});
