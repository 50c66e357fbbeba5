import { colourPicture } from '../fixtures/colour-pictures.ts';

/** One request, from its beginning to its end; times of `performance.now()`. */
export interface LoadResult {
  readonly begunAt: number;
  readonly endedAt: number;
  /** 0 where there was no answer. */
  readonly status: number;
  /** The service's code of an error. */
  readonly code: string | undefined;
  /** Whether it is the answer it should be. */
  readonly isRight: boolean;
}

export interface Load {
  readonly results: readonly LoadResult[];
  /** Waits until so many more requests have been answered. */
  more(count: number): Promise<void>;
  /** Lets every client finish its request. */
  stop(): Promise<readonly LoadResult[]>;
}

/** Clients that each send one request after another to /categorize. */
export async function startLoad(url: string, clients: number): Promise<Load> {
  // Some 25 KB: more than nginx reads along with a head, so that it passes through while it comes.
  const red = new Blob([await colourPicture([205, 25, 35], 'jpeg', 400, 300)]);
  const blue = new Blob([await colourPicture([35, 70, 200], 'png', 60, 40)]);
  const form = () => {
    const data = new FormData();
    data.append('files', red, 'red.jpg');
    data.append('files', blue, 'blue.png');
    data.append('categories', 'red,blue');
    return data;
  };
  const expected = '{"red.jpg":"red","blue.png":"blue"}';

  const results: LoadResult[] = [];
  let isStopping = false;
  const send = async () => {
    const begunAt = performance.now();
    const answer = await fetch(`${url}/categorize`, { method: 'POST', body: form() })
      .then(async (response) => ({ status: response.status, text: await response.text() }))
      .catch(() => ({ status: 0, text: '' }));
    results.push({
      begunAt,
      endedAt: performance.now(),
      status: answer.status,
      code: /"code":"(\w+)"/.exec(answer.text)?.[1],
      isRight: answer.status === 200 && answer.text === expected,
    });
  };
  const client = async () => {
    while (!isStopping) await send();
  };
  const running = Array.from({ length: clients }, client);
  return {
    results,
    async more(count) {
      const goal = results.length + count;
      while (results.length < goal) await Bun.sleep(10);
    },
    async stop() {
      isStopping = true;
      await Promise.all(running);
      return results;
    },
  };
}
