import { readFileSync } from 'node:fs';
import type { Socket } from 'bun';
import { bitmap } from '../../fixtures/colour-pictures.ts';
import {
  bodyRequest,
  byteLength,
  type FormPart,
  formRequest,
  type RawOutcome,
  type RawRequest,
  requestHead,
  sendRaw,
} from '../load/raw-request.ts';
import { type SlowSending, startSlowSenders } from '../load/slow-senders.ts';
import { photoOfBytes } from '../photos/photo-set.ts';
import {
  controlLabels,
  endlessBrands,
  endlessExtents,
  endlessNumber,
  gifChain,
  jpegChain,
  longLabels,
  planarTiles,
  pngChain,
  sharedValues,
} from './inputs.ts';
import { type SkipFilm, skipFilm } from './skip-film.ts';

/** What a case is given. */
export interface CaseTarget {
  /** The service's, without a path. */
  readonly url: string;
  /** How long a flood goes on. */
  readonly seconds: number;
  /** Passes when the case has to come to its end. */
  readonly leave: AbortSignal;
}

/** What came of it for the one who did it. */
export interface CaseOutcome {
  readonly sentBytes: number;
  /** Answers by status, or what became of connections. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Of the first answer that says something. */
  readonly sentence: string;
}

/** One way to hurt the service. */
export interface HostileCase {
  readonly name: string;
  /** `flood`: it goes on until its time is over, or until all is sent. */
  readonly kind: 'request' | 'flood';
  /** Others ask for a video beside it. */
  readonly withVideos?: true;
  /** Of what a flood usually takes. */
  readonly stretch?: number;
  /** Makes what is sent, before anything is measured. */
  prepare(): Promise<(target: CaseTarget) => Promise<CaseOutcome>>;
}

const categories: FormPart = { disposition: 'name="categories"', content: 'red,green,blue' };
/** 58 bytes. */
const onePixel = bitmap(1, 1, () => [205, 25, 35]);

function file(name: string, content: Uint8Array | string, field = 'files'): FormPart {
  return { disposition: `name="${field}"; filename="${name}"`, content };
}

/** Any number of pictures of one pixel, small enough that nothing but their number counts. */
function pixels(count: number): FormPart[] {
  return Array.from({ length: count }, (_, index) => file(`${index}.bmp`, onePixel));
}

/** One form. */
interface Form {
  readonly path: string;
  readonly parts: readonly FormPart[];
  readonly boundary?: string;
}

function request(name: string, make: () => Form | Promise<Form>): HostileCase {
  return {
    name,
    kind: 'request',
    async prepare() {
      const { path, parts, boundary } = await make();
      return async ({ url, leave }) => {
        const form = formRequest(new URL(path, url), parts, boundary);
        return outcomeOf(byteLength(form.pieces), [await sendRaw(form, leave)]);
      };
    },
  };
}

function picture(name: string, make: () => Uint8Array): HostileCase {
  return request(name, () => ({ path: '/categorize', parts: [file(name, make()), categories] }));
}

function categoriesOf(name: string, document: () => string): HostileCase {
  return request(name, () => ({
    path: '/categorize',
    parts: [file('0.bmp', onePixel), file('categories.txt', document(), 'categories')],
  }));
}

type Sent = Pick<RawOutcome, 'status' | 'body'>;

function outcomeOf(sentBytes: number, outcomes: readonly Sent[]): CaseOutcome {
  const statuses: Record<string, number> = {};
  for (const { status } of outcomes) statuses[status] = (statuses[status] ?? 0) + 1;
  return { sentBytes, statuses, sentence: sentenceOf(outcomes.find(({ body }) => body !== '')?.body ?? '') };
}

function sentenceOf(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    if (typeof error === 'string') return error;
  } catch {
    // Not JSON, or not all of it.
  }
  return body;
}

/** Until its time is over. */
function isOver({ leave }: CaseTarget): boolean {
  return leave.aborted;
}

/** Clients that each send one request after another, with a moment between. */
async function again(
  target: CaseTarget,
  clients: number,
  make: (client: number, round: number) => RawRequest,
): Promise<CaseOutcome> {
  const outcomes: Sent[] = [];
  let sentBytes = 0;
  const client = async (index: number) => {
    for (let round = 0; !isOver(target); round++) {
      const made = make(index, round);
      sentBytes += byteLength(made.pieces);
      outcomes.push(await sendRaw(made, target.leave));
      if (!isOver(target)) await Bun.sleep(1000);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, index) => client(index)));
  return outcomeOf(sentBytes, outcomes);
}

/** Requests that are announced and never sent. */
function silent(path: string, clients: number): HostileCase {
  return {
    name: `${clients} × POST ${path} that sends nothing`,
    kind: 'flood',
    ...(path === '/video' && { withVideos: true }),
    async prepare() {
      return (target) =>
        again(target, clients, () => {
          const url = new URL(path, target.url);
          const { pieces } = bodyRequest(url, [new Uint8Array(1000)]);
          return { url, pieces: pieces.slice(0, 1) };
        });
    },
  };
}

function slowly(
  name: string,
  make: (url: string) => Omit<SlowSending, 'url' | 'isEndless'>,
  more: Partial<HostileCase> = {},
): HostileCase {
  return {
    name,
    kind: 'flood',
    ...more,
    async prepare() {
      return async ({ url, leave }) => {
        const senders = startSlowSenders({ url, isEndless: true, ...make(url) });
        await new Promise((resolve) => leave.addEventListener('abort', resolve, { once: true }));
        senders.stop();
        return outcomeOf(senders.sentBytes, senders.answers);
      };
    },
  };
}

/** One part that never ends. */
function endlessPart(path: string, field: string, clients: number): HostileCase {
  const make = (url: string) => {
    const head = requestHead(new URL(path, url), 'POST', {
      'Content-Type': 'multipart/form-data; boundary=hostile',
      'Transfer-Encoding': 'chunked',
    });
    const chunked = (text: string | Uint8Array) =>
      Buffer.concat([Buffer.from(`${text.length.toString(16)}\r\n`), Buffer.from(text), Buffer.from('\r\n')]);
    const start = `--hostile\r\nContent-Disposition: form-data; name="${field}"; filename="a"\r\n\r\n\xff\xd8\xff\xe0`;
    const beginning = Buffer.concat([head, chunked(Buffer.from(start, 'latin1'))]);
    return {
      requests: [Buffer.concat([beginning, chunked(new Uint8Array(1024).fill(7))])],
      repeatFrom: beginning.length,
      clients,
      bytesPerSecond: 14.5 * 1024,
    };
  };
  const name = `${clients} × one endless part ${field} at 14.5 KiB/s`;
  return slowly(name, make, path === '/video' ? { withVideos: true } : {});
}

/** Nothing is wrong with them but that they come slowly. */
function slowPhotos(clients: number, kilobytesPerSecond: number): HostileCase {
  return {
    name: `${clients} × a sound 3 MB photo at ${kilobytesPerSecond} KB/s`,
    kind: 'flood',
    stretch: 2,
    async prepare() {
      const photo = await photoOfBytes(3_000_000, 1);
      return slowly('', (url) => {
        const { pieces } = formRequest(new URL('/categorize', url), [file('a.jpg', photo), categories]);
        return { requests: [Buffer.concat(pieces)], clients, bytesPerSecond: kilobytesPerSecond * 1000 };
      }).prepare();
    },
  };
}

const emptyFiles: HostileCase = {
  name: '200,000 parts files with filename=""',
  kind: 'request',
  async prepare() {
    const part = '--hostile\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n\r\n';
    const body = [Buffer.from(part.repeat(200_000)), Buffer.from('--hostile--\r\n')];
    return async ({ url, leave }) => {
      const form = bodyRequest(new URL('/categorize', url), body);
      return outcomeOf(byteLength(form.pieces), [await sendRaw(form, leave)]);
    };
  },
};

/** Labels times templates: what the text tower would take hours for. */
const labelFlood: HostileCase = {
  name: '8 × 1,000 labels of 65 tokens × 100 templates',
  kind: 'flood',
  async prepare() {
    const templates = Array.from({ length: 100 }, (_, index) => `template=${index}%20%7B%7D`).join('&');
    return (target) =>
      again(target, 8, (client, round) =>
        formRequest(new URL(`/categorize?${templates}`, target.url), [
          file('0.bmp', onePixel),
          file('categories.json', longLabels(1000, client * 1000 + round), 'categories'),
        ]),
      );
  },
};

/** Answers of some 20 MB that are not read. */
const slowReaders: HostileCase = {
  name: '32 clients that ask for answers of 20 MB and do not read them',
  kind: 'flood',
  async prepare() {
    const labels = Array.from({ length: 1000 }, (_, index) => `label ${index}`).join(',');
    const parts = [...pixels(250), file('categories.txt', labels, 'categories')];
    return async ({ url, leave }) => {
      const { pieces } = formRequest(new URL('/categorize?details=true&top_k=1000', url), parts);
      const body = Buffer.concat(pieces);
      const outcomes = await Promise.all(
        Array.from({ length: 32 }, () => askWithoutReading(new URL(url), body, leave)),
      );
      return outcomeOf(32 * body.length, outcomes);
    };
  },
};

function askWithoutReading(url: URL, body: Buffer, leave: AbortSignal): Promise<Sent> {
  const settled = Promise.withResolvers<Sent>();
  let offset = 0;
  let status: Sent['status'] = 'left';
  const send = (socket: Socket) => {
    while (offset < body.length) {
      const written = socket.write(body.subarray(offset));
      if (written <= 0) return;
      offset += written;
    }
  };
  const finish = () => settled.resolve({ status, body: '' });
  Bun.connect({
    hostname: url.hostname,
    port: Number(url.port),
    socket: {
      open(socket) {
        leave.addEventListener('abort', () => socket.terminate(), { once: true });
        send(socket);
      },
      drain: send,
      data(socket, chunk) {
        const text = chunk.toString('latin1', 0, 20);
        if (status === 'left') status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? Number.NaN);
        socket.pause();
      },
      close: finish,
      error: finish,
    },
  }).catch(finish);
  leave.addEventListener('abort', finish, { once: true });
  return settled.promise;
}

const longPaths: HostileCase = {
  name: '2,000 × GET of a path of 15,000 characters',
  kind: 'flood',
  async prepare() {
    const path = `/${'p'.repeat(15_000)}`;
    return async (target) => {
      const outcomes: RawOutcome[] = [];
      let left = 2000;
      const client = async () => {
        while (left-- > 0 && !isOver(target)) {
          const url = new URL(path, target.url);
          outcomes.push(await sendRaw({ url, pieces: [requestHead(url, 'GET')] }, target.leave));
        }
      };
      await Promise.all(Array.from({ length: 16 }, client));
      return outcomeOf(2000 * path.length, outcomes);
    };
  },
};

/** More than a day of decoding in 46 MB. */
const cheapFilm: SkipFilm = { width: 8192, height: 4320, frames: 2_860_000, seconds: 14_000 };

function filmOf(name: string, film: SkipFilm): HostileCase {
  return {
    name,
    kind: 'flood',
    withVideos: true,
    stretch: 3,
    async prepare() {
      const bytes = readFileSync(await skipFilm(film));
      return async ({ url, leave }) => {
        const form = formRequest(new URL('/video', url), [categories, file('film.mp4', bytes, 'video')]);
        return outcomeOf(byteLength(form.pieces), [await sendRaw(form, leave)]);
      };
    },
  };
}

/** Every case, in the order of the table. */
export const hostileCases: readonly HostileCase[] = [
  picture('planar-tiles.tif', planarTiles),
  picture('iloc-100.avif', () => endlessExtents(100)),
  picture('iloc-1000.avif', () => endlessExtents(1000)),
  picture('ftyp-64.bin', endlessBrands),
  picture('uvlc-63.avif', () => endlessNumber(63)),
  picture('chain.png', pngChain),
  picture('chain.jpg', jpegChain),
  picture('chain.gif', gifChain),
  picture('tags.tiff', sharedValues),
  request('/categorize, 250 pixels × 1,000 labels of 4,000 control characters, top_k=1000', () => ({
    path: '/categorize?details=true&top_k=1000',
    parts: [...pixels(250), file('categories.txt', controlLabels(1000, 4000), 'categories')],
  })),
  request('/image, 250 files named by 1,000 control characters × 1,000 labels, top_k=250', () => ({
    path: '/image?details=true&top_k=250',
    parts: [
      ...Array.from({ length: 250 }, (_, index) => ({
        disposition: `name="files"; filename*=utf-8''${index}${'%01'.repeat(1000)}`,
        content: onePixel,
      })),
      file('categories.txt', Array.from({ length: 1000 }, (_, index) => `l${index}`).join(','), 'categories'),
    ],
  })),
  request('/categorize, 10,000 pixels × 5 labels of 3,900 control characters', () => ({
    path: '/categorize?details=true',
    parts: [...pixels(10_000), file('categories.txt', controlLabels(5, 3900), 'categories')],
  })),
  categoriesOf('a word of 4,096 letters', () => 'abcdefghijklmnopqrstuvwxyz'.repeat(158).slice(0, 4096)),
  request('a query of 3,600 unknown keys', () => ({
    path: `/categorize?${Array.from({ length: 3600 }, (_, index) => index.toString(36)).join('&')}`,
    parts: [file('0.bmp', onePixel), categories],
  })),
  categoriesOf('categories a,a,a,…', () => 'a,'.repeat(2 * 1024 ** 2)),
  categoriesOf('categories a\\na\\n…', () => 'a\n'.repeat(2 * 1024 ** 2)),
  categoriesOf('categories "","",…', () => '"",'.repeat(Math.floor((4 * 1024 ** 2) / 3))),
  categoriesOf('categories [[[…', () => '['.repeat(4 * 1024 ** 2)),
  request('boundary of 70 equal letters, a part of the same letter', () => ({
    path: '/categorize',
    parts: [file('a.jpg', Buffer.alloc(64 * 1024 ** 2, 'a')), categories],
    boundary: 'a'.repeat(70),
  })),
  emptyFiles,
  silent('/categorize', 512),
  silent('/video', 128),
  endlessPart('/categorize', 'files', 8),
  endlessPart('/video', 'video', 4),
  slowPhotos(12, 100),
  labelFlood,
  slowReaders,
  longPaths,
  filmOf('a film of 8192 × 4320 whose frames take 12 bytes each', cheapFilm),
];
