import { readdirSync, readFileSync } from 'node:fs';
import { makeVideo } from '../../fixtures/videos.ts';
import { post } from '../exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from '../form.ts';
import { loadVideos, mutateVideo } from '../hostile/videos.ts';
import { judge } from '../judge.ts';
import { categories } from '../target.ts';
import { type Attack, repeat } from './attack.ts';

const ATTACK = 'mutated videos';
/** Whatever a file does to the decoder, its sender hears of it within this time. */
const LONGEST_MS = 30_000;
/** What a request leaves is removed after its answer is on its way. */
const REMOVAL_MS = 10_000;

const queries = ['?details=true&images=false', '?details=true', '', '?threshold=0.4'];

/** Mutated videos: answered or refused in time, no 5xx, and nothing of them is left on the disk. */
export const mutatedVideos: Attack = async (target, random, count) => {
  const videos = loadVideos();
  await repeat(count, random, async (own, turn) => {
    const video = own.pick(videos);
    const bytes = mutateVideo(video, own);
    const path = `/video${own.pick(queries)}`;
    const body = joinForm([filePart(video.name, bytes, 'video'), categoriesPart(categories.join(','))]);
    const startedAt = performance.now();
    const outcome = await post({ url: target.url, path, contentType: CONTENT_TYPE, body });
    const milliseconds = performance.now() - startedAt;
    const about = () =>
      `request ${turn}, ${path}: ${video.name} (${bytes.length} bytes, ${Bun.hash.crc32(bytes).toString(16)})`;
    const answer = judge(target.tally, ATTACK, outcome, about);
    if (milliseconds > LONGEST_MS) target.tally.fault(ATTACK, `${milliseconds} ms; ${about()}`);
    if (answer && answer.status >= 500) target.tally.fault(ATTACK, `status ${answer.status}; ${about()}`);
  });
  const until = performance.now() + REMOVAL_MS;
  while (readdirSync(target.temporaryFolder).some(isVideoFolder)) {
    if (performance.now() > until) {
      target.tally.fault(ATTACK, `left behind: ${readdirSync(target.temporaryFolder).join()}`);
      return;
    }
    await Bun.sleep(20);
  }
  await target.expectSound(ATTACK);
};

export interface FilmSize {
  readonly width: number;
  readonly height: number;
  readonly seconds: number;
}

/**
 * A film of huge frames that take a few bytes each, as nothing changes in them: much decoding for little upload. It is
 * answered in time, from fewer frames than it has if need be, and another film beside it does not wait for its end.
 */
export function hugeFrames({ width, height, seconds }: FilmSize): Attack {
  return async (target) => {
    const still = { colour: 'red', seconds } as const;
    const options = { preset: 'ultrafast', g: '9999', sc_threshold: '0' };
    const huge = makeVideo({ scenes: [still], motion: 'none', frameRate: 30, width, height, options });
    const small = makeVideo({ scenes: [{ colour: 'green', seconds: 1 }], frameRate: 10 });
    const send = async (path: string, about: string) => {
      const startedAt = performance.now();
      const bytes = readFileSync(path);
      const body = joinForm([filePart('film.mp4', bytes, 'video'), categoriesPart(categories.join(','))]);
      const query = '/video?details=true&images=false';
      const outcome = await post({ url: target.url, path: query, contentType: CONTENT_TYPE, body });
      const answer = judge(target.tally, 'huge frames', outcome, () => about);
      const milliseconds = performance.now() - startedAt;
      if (milliseconds > LONGEST_MS)
        target.tally.fault('huge frames', `${about}: ${milliseconds.toFixed(0)} ms`);
      return answer;
    };
    const all = Promise.all([1, 2].map(() => send(huge.path, `${width} × ${height}, ${seconds} s`)));
    const answer = await send(small.path, 'a small film beside it');
    if (answer && answer.status !== 200) target.tally.fault('huge frames', `a small film: ${answer.body}`);
    await all;
    await target.expectSound('huge frames');
  };
}

function isVideoFolder(name: string): boolean {
  return name.startsWith('classify-images-video');
}
