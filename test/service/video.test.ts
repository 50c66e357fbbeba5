import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childrenOf } from '../bench/process/child-processes.ts';
import { makeVideo, manyScenes, type SceneColour, sceneColours } from '../fixtures/videos.ts';
import { knownCuts } from '../fixtures/videos-known-cuts.ts';
import { isIn } from '../media/video/look-at.ts';
import { type Service, startService } from './service.ts';

const seconds = 1.4;
const colours = Object.keys(sceneColours) as SceneColour[];
const size = { width: 320, height: 180 };

let folder: string;
let spools: string;
let service: Service;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  spools = join(folder, 'spools');
  await mkdir(spools);
  service = await start();
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<Service> {
  const started = await startService({
    CLIP_MODEL: 'demo',
    CLIP_CACHE: join(folder, 'cache'),
    TMPDIR: spools,
  });
  await started.ready();
  return started;
}

/** Sends a video and categories as a browser's form does. */
async function post(
  video: Uint8Array<ArrayBuffer>,
  categories: readonly string[],
  query = '',
  init: RequestInit = {},
): Promise<Response> {
  const form = new FormData();
  form.append('video', new File([video], 'holiday.mp4'));
  form.append('categories', JSON.stringify(categories));
  // On a connection of its own: none that another test's refused upload has left.
  return await fetch(`${service.url}/video${query}`, {
    method: 'POST',
    body: form,
    keepalive: false,
    ...init,
  });
}

const bytesOf = async (path: string) => new Uint8Array(await readFile(path));
const phrase = (colour: string) => `a frame of something ${colour}`;

/**
 * Waits for the process that decodes. Until it runs its own program, whoever starts it stands still with it.
 * @param answer settles when there is nothing to wait for any more
 * @returns undefined where the answer came first
 */
async function decoderOf(pid: number, answer: Promise<unknown>): Promise<number | undefined> {
  let isAnswered = false;
  const note = () => {
    isAnswered = true;
  };
  answer.then(note, note);
  while (!isAnswered) {
    for (const child of childrenOf(pid)) {
      const command = await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '');
      if (command.includes('video-child')) return child;
    }
    await Bun.sleep(1);
  }
  return undefined;
}

/** Waits for what a killed or deserted request has left to go. */
async function untilEmpty(): Promise<void> {
  while ((await readdir(spools)).length > 0) await Bun.sleep(10);
}

interface Details {
  readonly model: { readonly name: string };
  readonly video: Readonly<Record<string, unknown>>;
  readonly results: readonly {
    readonly category: string;
    readonly file: string;
    readonly timestamp: number;
    readonly image?: string;
  }[];
  readonly warnings: readonly string[];
}

/** What /categorize calls a picture. */
async function colourOf(jpeg: Uint8Array): Promise<SceneColour | undefined> {
  const form = new FormData();
  form.append('files', new File([new Uint8Array(jpeg)], 'frame.jpg'));
  form.append('categories', colours.map(phrase).join(','));
  const response = await fetch(`${service.url}/categorize`, { method: 'POST', body: form });
  const answer = (await response.json()) as Record<string, string>;
  return colours.find((colour) => phrase(colour) === answer['frame.jpg']);
}

describe('the service with the demo model', () => {
  const film = () => makeVideo({ scenes: colours.map((colour) => ({ colour, seconds })) });

  test('finds each colour in its own scene, and returns that frame', async () => {
    const { path, scenes } = film();
    const response = await post(await bytesOf(path), colours.map(phrase), '?details=true&top_k=3');
    expect(response.status).toBe(200);
    const { model, video, results, warnings } = (await response.json()) as Details;
    expect(model.name).toContain('demo');
    expect(video).toMatchObject({ ...size, codec: 'h264', scenes: colours.length });
    expect(warnings).toEqual([]);
    expect(results.map(({ category }) => category)).toEqual(colours.map(phrase));
    for (const [index, { category, file, timestamp, image }] of results.entries()) {
      const { colour, start, end } = scenes[index]!;
      expect(category).toBe(phrase(colour));
      expect({ colour, timestamp, isInside: timestamp >= start && timestamp < end }).toMatchObject({
        isInside: true,
      });
      expect(file).toBe(`holiday-${timestamp.toFixed(3)}.jpg`);
      const jpeg = Buffer.from(image ?? '', 'base64');
      expect([...jpeg.subarray(0, 2), ...jpeg.subarray(-2)]).toEqual([0xff, 0xd8, 0xff, 0xd9]);
      expect(await colourOf(jpeg)).toBe(colour);
    }
    expect(await readdir(spools)).toEqual([]);
  });

  // What is found in all known cuts, and that it has the right colours, is tested where videos are decoded.
  test.each([
    'a keyframe every 250 frames, wherever cuts are',
    'HEVC in 10 bits, without keyframes at cuts',
    'VP9 in WebM',
    'a variable frame rate',
    'a short scene right before a keyframe, coded in B-frames',
    'an edit list',
    'turned by 90°',
    'cross-fades between keyframes every 2 s',
    'one frame',
  ])('each colour’s best frame is from a scene of it: %s', async (name) => {
    const recipe = knownCuts[name]!;
    const { path, scenes } = makeVideo(recipe);
    const shown = [...new Set(scenes.map(({ colour }) => colour))];
    const response = await post(await bytesOf(path), shown.map(phrase), '?details=true&images=false');
    expect(response.status).toBe(200);
    const { results } = (await response.json()) as Details;
    const strays = results.filter(({ timestamp }, index) => {
      const shownThen = scenes.filter((scene) => isIn(scene, timestamp)).map(({ colour }) => colour);
      // Two colours that fade into each other can be closer to a third one than its own scene is.
      const isInFade = recipe.fadeSeconds !== undefined && shownThen.length === 0;
      return !isInFade && !shownThen.some((colour) => colour === shown[index]);
    });
    expect(strays).toEqual([]);
  });

  test('answers in the shape of 2021, and as events', async () => {
    const { path } = film();
    const plain = await post(await bytesOf(path), ['red', 'blue']);
    const answer = (await plain.json()) as Record<string, [string, string]>;
    expect(Object.keys(answer)).toEqual(['red', 'blue']);
    for (const [name, picture] of Object.values(answer)) {
      expect(name).toMatch(/^holiday-\d+\.\d{3}\.jpg$/);
      expect(picture).toStartWith('/9j/');
    }
    const headers = { accept: 'application/x-ndjson' };
    const events = await post(await bytesOf(path), ['red', 'blue'], '', { headers });
    const lines = (await events.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.at(0)).toMatchObject({ event: 'progress' });
    expect(lines.at(-1)).toEqual({ event: 'result', data: answer });
  });

  test('uses what is there of a video that was cut short, and says so', async () => {
    const { path, scenes } = makeVideo({
      scenes: colours.map((colour) => ({ colour, seconds })),
      muxerOptions: { movflags: '+faststart' },
    });
    const whole = await bytesOf(path);
    const { colour } = scenes[0]!;
    const answered = await post(whole.slice(0, whole.length * 0.6), [colour, 'grey'], '?details=true');
    expect(answered.status).toBe(200);
    const { results, warnings } = (await answered.json()) as Details;
    expect(results[0]?.timestamp).toBeLessThan(seconds);
    expect(warnings).not.toEqual([]);
  });

  test('refuses what cannot be looked through', async () => {
    const whole = await bytesOf(film().path);
    const broken = await post(whole.slice(0, whole.length / 2), ['red']);
    expect(broken.status).toBe(422);
    expect(await broken.json()).toMatchObject({ code: 'video_broken' });
    const none = await post(new TextEncoder().encode('this is no video'), ['red']);
    expect(none.status).toBe(415);
    expect(await none.json()).toMatchObject({ code: 'video_unsupported' });
    expect(await readdir(spools)).toEqual([]);
  });

  test.if(process.platform === 'linux')('stops a search when its client leaves, and serves on', async () => {
    const { path } = makeVideo({ scenes: manyScenes(60, 1), options: { preset: 'ultrafast', g: '25' } });
    const long = await bytesOf(path);
    let leaving = new AbortController();
    const send = () => {
      leaving = new AbortController();
      return post(long, ['red'], '?images=false', { signal: leaving.signal });
    };
    let answer = send();
    let decoder = await decoderOf(service.pid, answer);
    // A busy machine may let a search come to its end before anybody sees its decoder.
    while (decoder === undefined) {
      const over = await answer;
      expect({ status: over.status, body: await over.text() }).toMatchObject({ status: 200 });
      answer = send();
      decoder = await decoderOf(service.pid, answer);
    }
    // However fast the machine is, a decoder that stands still is not done before the client leaves.
    process.kill(decoder, 'SIGSTOP');
    leaving.abort();
    expect(await answer.catch((fault: unknown) => fault)).toBeInstanceOf(Error);
    while (childrenOf(service.pid).includes(decoder)) await Bun.sleep(10);
    await untilEmpty();
    const next = await post(await bytesOf(film().path), ['red'], '?images=false');
    expect(next.status).toBe(200);
    const isLeft = ({ path, status }: Service['log'][number]) => path === '/video' && status === 499;
    while (!service.log.some(isLeft)) await Bun.sleep(10);
    expect(service.log.filter(isLeft)).toHaveLength(1);
  });

  test('a killed process’s video is removed at the next start', async () => {
    const gate = Promise.withResolvers<void>();
    async function* upload() {
      yield new TextEncoder().encode(
        '--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n',
      );
      yield new Uint8Array(300_000);
      await gate.promise;
    }
    const sending = fetch(`${service.url}/video`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body: upload(),
    }).catch((fault: unknown) => fault);
    while ((await readdir(spools)).length === 0) await Bun.sleep(10);
    process.kill(service.pid, 'SIGKILL');
    gate.resolve();
    expect(await sending).toBeInstanceOf(Error);
    // The next one would take what a process leaves that is still on its way out for its own.
    await service.exited;
    expect(await readdir(spools)).toHaveLength(1);
    service = await start();
    await untilEmpty();
  });
});
