import { postForm } from '../load/form-request.ts';
import { childCpuSeconds, processUsage } from '../process/process-usage.ts';
import { quantile } from './regret.ts';

/** What a service answered about one video. */
export interface Search {
  readonly framesConsidered: number;
  readonly scenes: number;
  /** By category. */
  readonly winners: Readonly<Record<string, Winner>>;
  /** Processor time of the process that decodes, and of the service itself with the model. */
  readonly decodingSeconds: number;
  readonly serviceSeconds: number;
  readonly answerSeconds: number;
}

interface Winner {
  /** In seconds. */
  readonly time: number;
  /** As the service reports it. */
  readonly similarity: number;
}

export interface Refusal {
  /** Status and answer. */
  readonly refused: string;
}

/** The names on the wire that are needed here. */
interface Answer {
  readonly video: { readonly frames_considered: number; readonly scenes: number };
  readonly results: readonly {
    readonly category: string;
    readonly timestamp: number;
    readonly similarity: number;
  }[];
}

/** A started service that searches videos. */
export interface Searcher {
  readonly name: string;
  search(path: string): Promise<Search | Refusal>;
}

interface SearcherOptions {
  /** Of the service. */
  readonly url: string;
  readonly pid: number;
  readonly categories: readonly string[];
  /** Query options of `/video` beside those that this program needs: `thorough=true`. */
  readonly query?: string;
}

const START_ROUNDS = 3;

/**
 * @param shortest path of a video of one frame: what it costs is the start of a process, which counts for no search
 * @returns undefined if the service does not know the query options
 */
export async function createSearcher(
  name: string,
  shortest: string,
  options: SearcherOptions,
): Promise<Searcher | undefined> {
  const starts: Search[] = [];
  for (let round = 0; round < START_ROUNDS; round++) {
    const answer = await ask(shortest, options);
    if ('refused' in answer && options.query) return undefined;
    if ('refused' in answer) throw new Error(`A video of one frame was refused: ${answer.refused}`);
    starts.push(answer);
  }
  const usual = (value: (search: Search) => number) => quantile(starts.map(value), 0.5);
  const decodingSeconds = usual((search) => search.decodingSeconds);
  const serviceSeconds = usual((search) => search.serviceSeconds);
  return {
    name,
    async search(path) {
      const answer = await ask(path, options);
      if ('refused' in answer) return answer;
      return {
        ...answer,
        decodingSeconds: Math.max(0, answer.decodingSeconds - decodingSeconds),
        serviceSeconds: Math.max(0, answer.serviceSeconds - serviceSeconds),
      };
    },
  };
}

async function ask(path: string, options: SearcherOptions): Promise<Search | Refusal> {
  const { url, pid, categories, query } = options;
  const bytes = await Bun.file(path).bytes();
  const before = processorTime(pid);
  const { status, body, milliseconds } = await postForm(
    new URL(`/video?details=true&images=false&top_k=1${query ? `&${query}` : ''}`, url),
    [{ field: 'video', name: 'video.mp4', bytes }],
    JSON.stringify(categories),
  );
  if (status !== 200) return { refused: `${status} ${body.slice(0, 200)}` };
  await Bun.sleep(SETTLE_MS);
  const used = processorTime(pid);
  const { video, results } = JSON.parse(body) as Answer;
  const decodingSeconds = used.children - before.children;
  return {
    framesConsidered: video.frames_considered,
    scenes: video.scenes,
    winners: Object.fromEntries(
      results.map(({ category, timestamp, similarity }) => [category, { time: timestamp, similarity }]),
    ),
    decodingSeconds,
    serviceSeconds: used.all - before.all - decodingSeconds,
    answerSeconds: milliseconds / 1000,
  };
}

/** The process that decodes ends just after the answer. */
const SETTLE_MS = 30;

function processorTime(pid: number) {
  return { all: processUsage(pid).cpuSeconds, children: childCpuSeconds(pid) };
}
