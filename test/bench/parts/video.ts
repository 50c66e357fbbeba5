import type { Bench, Findings } from '../bench.ts';
import { postForm } from '../load/form-request.ts';
import { processUsage, residentMemory, watchChildren } from '../process/process-usage.ts';
import { megabytes, number } from '../report/table.ts';
import { withService } from '../service/running-service.ts';
import { decodeAll, type FullDecode } from '../video/full-decode.ts';
import { lookThrough } from '../video/look-through.ts';
import { madeVideo, type VideoRecipe } from '../video/made-video.ts';

interface VideoRun {
  /** From the first byte sent to the last one of the answer, its pictures included. */
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly framesConsidered: number;
  readonly scenes: number;
  /** Of the service, and of the process that it decodes in. */
  readonly peakBytes: number;
  readonly childPeakBytes: number;
}

interface VideoResult {
  readonly title: string;
  readonly recipe: VideoRecipe;
  readonly bytes: number;
  readonly runs: readonly VideoRun[];
  readonly fullDecodes: readonly FullDecode[];
  /** Seconds of the search alone, without upload and model. */
  readonly searches: readonly number[];
}

/**
 * What most videos are, and what is worst for the search.
 * @param isQuick shorter ones, for a look
 */
export function videoRecipes(isQuick: boolean): readonly (readonly [title: string, recipe: VideoRecipe])[] {
  const usual = {
    name: 'usual',
    seconds: 40,
    times: isQuick ? 3 : 15,
    sceneSeconds: 6,
    noise: 3,
    options: {},
  };
  const params = (text: string) => ({ options: { 'x264-params': text } });
  return [
    ['x264’s defaults', usual],
    [
      'one keyframe, cuts everywhere',
      {
        name: 'worst',
        seconds: 30,
        times: 1,
        sceneSeconds: 1.5,
        noise: 3,
        ...params('keyint=infinite:scenecut=0'),
      },
    ],
    [
      'much noise, no keyframes at cuts',
      { name: 'noisy', seconds: 25, times: 3, sceneSeconds: 3, noise: 8, ...params('scenecut=0') },
    ],
  ];
}

/** /video against decoding everything. */
export async function videoPart(bench: Bench): Promise<Findings> {
  const recipes = videoRecipes(bench.options.seconds < 5);
  const results: VideoResult[] = [];
  for (const [title, recipe] of recipes) results.push(await measureVideo(bench, title, recipe));
  return {
    data: { precision: bench.precision, results },
    tables: [
      {
        title: `One video of 1080p, ${bench.precision}`,
        columns: [
          'video',
          'length s',
          'size',
          'all decoded s',
          'looked through s',
          'times faster',
          'answer s',
          'times faster',
          'by CPU time',
          'frames seen',
          'scenes',
          'peak memory',
          'and of decoding',
        ],
        rows: results.map(rowOf),
        note: `All decoded: with ${results[0]?.fullDecodes[0]?.with}, all cores, frames dropped. Looked through: frames found, and three of them made into pictures at full size. The answer’s time includes the upload and the model, too.`,
      },
    ],
  };
}

async function measureVideo(bench: Bench, title: string, recipe: VideoRecipe): Promise<VideoResult> {
  bench.tell(`making a video: ${title}`);
  const path = await madeVideo(recipe);
  const bytes = await Bun.file(path).bytes();
  const runs: VideoRun[] = [];
  const fullDecodes: FullDecode[] = [];
  const searches: number[] = [];
  for (let round = 1; round <= bench.options.rounds; round++) {
    bench.tell(`round ${round}: ${title}`);
    fullDecodes.push(await decodeAll(path));
    searches.push(await lookThrough(path));
    runs.push(await withService(bench, ({ url, pid }) => askForFrames(url, pid, bytes)));
  }
  return { title, recipe, bytes: bytes.byteLength, runs, fullDecodes, searches };
}

async function askForFrames(url: string, pid: number, bytes: Uint8Array): Promise<VideoRun> {
  using children = watchChildren(pid);
  const before = processUsage(pid).cpuSeconds;
  const { status, body, milliseconds } = await postForm(
    new URL('/video?details=true', url),
    [{ field: 'video', name: 'video.mp4', bytes }],
    '["a cat","a dog","a tree"]',
  );
  if (status !== 200) throw new Error(`/video answered ${status}: ${body.slice(0, 500)}`);
  const { video } = JSON.parse(body) as { video: { frames_considered: number; scenes: number } };
  return {
    seconds: milliseconds / 1000,
    cpuSeconds: processUsage(pid).cpuSeconds - before,
    framesConsidered: video.frames_considered,
    scenes: video.scenes,
    peakBytes: residentMemory(pid).peakBytes,
    childPeakBytes: children.peakBytes,
  };
}

function rowOf({ title, recipe, bytes, runs, fullDecodes, searches }: VideoResult): string[] {
  const least = <Item>(items: readonly Item[], value: (item: Item) => number) =>
    Math.min(...items.map(value));
  const most = (value: (run: VideoRun) => number) => Math.max(...runs.map(value));
  const seconds = least(runs, (run) => run.seconds);
  const all = least(fullDecodes, (decode) => decode.seconds);
  const searched = Math.min(...searches);
  const cpu = least(runs, (run) => run.cpuSeconds);
  return [
    title,
    String(recipe.seconds * recipe.times),
    megabytes(bytes),
    number(all),
    number(searched),
    number(all / searched),
    number(seconds),
    number(all / seconds),
    number(least(fullDecodes, (decode) => decode.cpuSeconds) / cpu),
    String(most((run) => run.framesConsidered)),
    String(most((run) => run.scenes)),
    megabytes(most((run) => run.peakBytes)),
    megabytes(most((run) => run.childPeakBytes)),
  ];
}
