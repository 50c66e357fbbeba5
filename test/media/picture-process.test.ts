import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { DecodeError } from '../../native/image/builtin-decoder.ts';
import { resizeAndCrop } from '../../src/clip/preprocessing.ts';
import { decodeSquare, isIsolatedPicture } from '../../src/media/picture/picture.ts';
import {
  createPictureProcesses,
  type PictureProcessOptions,
} from '../../src/media/picture/picture-process.ts';
import { readPictureHeader } from '../../src/media/sniff.ts';
import { isolated } from './load-picture.ts';
import {
  animatedWebp,
  avif,
  bmp,
  concat,
  cutOut,
  gif,
  greyTiff,
  jpeg,
  paletteBmp,
  rgbPng,
  tiff,
  uint32be,
  webp,
} from './sample-pictures.ts';

const MEBI = 1024 ** 2;
const child = (name: string) => join(import.meta.dir, 'children', `${name}.ts`);

/** Processes that do what the pictures say. */
function whimsical(options: Partial<PictureProcessOptions> = {}) {
  const deaths: string[] = [];
  const processes = createPictureProcesses({
    processes: 1,
    memoryBytes: 400 * MEBI,
    childPath: child('whimsical'),
    onDeath: (how) => deaths.push(how),
    ...options,
  });
  /** @returns the process, how many pictures it has had, and the checksum of what it got */
  const decode = async (picture: string | Uint8Array, signal?: AbortSignal) => {
    const bytes = typeof picture === 'string' ? new TextEncoder().encode(picture) : picture;
    const target = new Uint8Array(12);
    await processes.decode(bytes, task, target, signal);
    const view = new DataView(target.buffer);
    return { pid: view.getUint32(0), pictures: view.getUint32(4), checksum: view.getUint32(8) };
  };
  return { processes, decode, deaths, [Symbol.asyncDispose]: () => processes[Symbol.asyncDispose]() };
}

const task = {
  header: {
    format: 'tiff',
    width: 30,
    height: 20,
    orientation: 1,
    alpha: false,
    rare: false,
    coefficientBytes: 0,
  },
  place: { resizedWidth: 3, resizedHeight: 2, cropLeft: 0, cropTop: 0 },
  memoryBytes: MEBI,
} as const;

async function refusal(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  try {
    await promise;
  } catch (thrown) {
    return thrown as { code?: string; message: string };
  }
  throw new Error('nothing was refused');
}

const isThere = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

async function untilGone(pid: number): Promise<void> {
  while (isThere(pid)) await Bun.sleep(5);
}

const crashed = {
  code: 'image_broken',
  message: 'The TIFF picture crashed its decoder; save it again as a JPEG or PNG.',
};
const busy = {
  code: 'image_broken',
  message: 'The TIFF picture is damaged: decoding it does not come to an end.',
};

describe('a process that decodes pictures', () => {
  test('serves one after the other', async () => {
    await using some = whimsical();
    const first = await some.decode('a picture');
    expect(first).toEqual({ pid: first.pid, pictures: 1, checksum: Bun.hash.crc32('a picture') });
    expect(first.pid).not.toBe(process.pid);
    expect(await some.decode('another')).toMatchObject({ pid: first.pid, pictures: 2 });
  });

  test('gets every byte of a large file', async () => {
    await using some = whimsical();
    const large = new Uint8Array(9 * MEBI + 5).map((_, index) => (index * 7919) >> 5);
    large[0] = 'p'.charCodeAt(0);
    expect((await some.decode(large)).checksum).toBe(Bun.hash.crc32(large));
  });

  test('lets the event loop turn while it gets them', async () => {
    await using some = whimsical();
    await some.decode('a picture');
    let turns = 0;
    const count = () => {
      turns += 1;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await some.decode(new Uint8Array(16 * MEBI));
    clearImmediate(timer);
    expect(turns).toBeGreaterThan(16);
  });

  test('reports a fault of the picture, and a fault of ours', async () => {
    await using some = whimsical();
    const faulty = await refusal(some.decode('faulty'));
    expect(faulty).toBeInstanceOf(DecodeError);
    expect(faulty).toMatchObject({ reason: 'unsupported', message: 'a strange kind' });
    const ours = await refusal(some.decode('x'));
    expect(ours.message).toBe('decoding a picture failed: undefined is not a function');
    expect(ours.code).toBeUndefined();
    expect(await some.decode('a picture')).toMatchObject({ pictures: 3 });
  });

  test('fails only its own picture when it crashes', async () => {
    await using some = whimsical({ processes: 2 });
    const pictures = ['a picture', 'crash', 'b?', 'another', 'crash again', 'one more'].map((picture) =>
      picture === 'b?' ? some.decode('picture') : some.decode(picture).catch((thrown: unknown) => thrown),
    );
    const [one, crash, two, three, again, four] = await Promise.all(pictures);
    expect(crash).toMatchObject(crashed);
    expect(again).toMatchObject(crashed);
    for (const answer of [one, two, three, four]) expect(answer).toMatchObject({ pid: expect.any(Number) });
    expect(some.deaths).toContain('the process ended with signal SIGABRT');
  });

  test('is replaced by a new one when it dies, for the same picture', async () => {
    await using some = whimsical();
    const before = await some.decode('a picture');
    const after = await some.decode('die unless you are the first');
    expect(after).toMatchObject({ pictures: 1 });
    expect(after.pid).not.toBe(before.pid);
    expect(some.deaths).toHaveLength(1);
  });

  test('gets a picture that kills processes at most twice; its file is then refused', async () => {
    await using some = whimsical();
    await some.decode('a picture');
    expect(await refusal(some.decode('crash 1'))).toMatchObject(crashed);
    expect(some.deaths).toHaveLength(2);
    // In a new process, no earlier picture can be the cause.
    expect(await refusal(some.decode('crash 2'))).toMatchObject(crashed);
    expect(some.deaths).toHaveLength(3);
    await some.decode('a picture');
    expect(await refusal(some.decode('crash 2'))).toMatchObject(crashed);
    expect(some.deaths).toHaveLength(3);
    expect(await some.decode('picture')).toMatchObject({ pictures: 2 });
  });

  test('is ended by a picture that keeps it busy', async () => {
    await using some = whimsical({ watch: { baseSeconds: 0.5 } });
    await some.decode('a picture');
    expect(await refusal(some.decode('busy'))).toMatchObject(busy);
    expect(some.deaths).toEqual([]);
    expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
  });

  test('is ended when a picture is never finished', async () => {
    await using some = whimsical({ watch: { baseSeconds: 0.3 } });
    expect(await refusal(some.decode('wait'))).toMatchObject(busy);
    expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
  });

  test('has more time for a picture with more pixels', async () => {
    await using some = whimsical({ watch: { baseSeconds: 0, pixelsPerSecond: 100 } });
    // Six seconds.
    expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
  });

  test.if(process.platform === 'linux')('is ended by a picture that takes too much memory', async () => {
    await using some = whimsical({ watch: { baseBytes: 300 * MEBI } });
    expect(await refusal(some.decode('greedy'))).toMatchObject({
      code: 'image_too_large',
      message:
        'Decoding the TIFF picture of 30 × 20 pixels needs more than the 317 MB of memory that it may use; save it as a JPEG or PNG.',
    });
    expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
  });

  test.if(process.platform === 'linux')('has no more memory for a picture that declares much', async () => {
    await using some = whimsical({ memoryBytes: 40 * MEBI, watch: { baseBytes: 300 * MEBI } });
    const greedy = some.processes.decode(
      new TextEncoder().encode('greedy'),
      { ...task, memoryBytes: 400 * MEBI },
      new Uint8Array(12),
    );
    expect((await refusal(greedy)).message).toContain('more than the 357 MB of memory');
  });

  test('cannot deceive the service', async () => {
    await using some = whimsical();
    for (const picture of ['riddle', 'small']) {
      const { code, message } = await refusal(some.decode(picture));
      expect(message).toContain('This is a bug');
      expect(code).toBeUndefined();
      expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
    }
  });

  test('that does not start is not the picture’s fault', async () => {
    await using some = whimsical({ childPath: child('stillborn') });
    const { code, message } = await refusal(some.decode('a picture'));
    expect(message).toBe('a process that decodes pictures did not start: the process ended with exit code 3');
    expect(code).toBeUndefined();
  });

  test('drops a cancelled picture, before and while it is decoded', async () => {
    await using some = whimsical({ watch: { cancelledMs: 0 } });
    const left = new Error('the client left');
    expect((await refusal(some.decode('wait', AbortSignal.abort(left)))).message).toBe(left.message);

    const leaving = new AbortController();
    const decoding = refusal(some.decode('wait', leaving.signal));
    const waiting = refusal(some.decode('a picture', leaving.signal));
    const staying = some.decode('a picture');
    leaving.abort(left);
    expect(await waiting).toBe(left);
    expect(await decoding).toBe(left);
    expect(await staying).toMatchObject({ pictures: 1 });
    expect(some.deaths).toEqual([]);
  });

  test('finishes a cancelled picture if that takes little time', async () => {
    await using some = whimsical({ watch: { cancelledMs: 1e9 } });
    const { pid } = await some.decode('a picture');
    const left = new Error('the client left');
    const leaving = new AbortController();
    const decoding = refusal(some.decode(new Uint8Array(4 * MEBI), leaving.signal));
    leaving.abort(left);
    expect(await decoding).toBe(left);
    expect(await some.decode('a picture')).toMatchObject({ pid });
  });

  test('is replaced when it has died while idle', async () => {
    await using some = whimsical();
    const { pid } = await some.decode('a picture');
    process.kill(pid, 'SIGKILL');
    expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
    await untilGone(pid);
  });

  test('ends after a long wait', async () => {
    await using some = whimsical({ watch: { idleMs: 1 } });
    const { pid } = await some.decode('a picture');
    await untilGone(pid);
    expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
    expect(some.deaths).toEqual([]);
  });

  test.if(process.platform === 'linux')('that keeps much memory is not used again', async () => {
    await using some = whimsical({ watch: { keptBytes: 0 } });
    const { pid } = await some.decode('a picture');
    await untilGone(pid);
    expect(await some.decode('a picture')).toMatchObject({ pictures: 1 });
  });

  test('ends with the process that started it', async () => {
    const some = whimsical({ processes: 2 });
    const { pid } = await some.decode('a picture');
    const decoding = refusal(some.decode('wait'));
    await some[Symbol.asyncDispose]();
    expect(isThere(pid)).toBe(false);
    const ended = 'the processes that decode pictures have been ended';
    expect((await decoding).message).toBe(ended);
    expect((await refusal(some.decode('a picture'))).message).toBe(ended);
  });
});

describe('a program with processes that decode pictures', () => {
  const program = (after: string) => `
    const { createPictureProcesses } = await import(${JSON.stringify(join(import.meta.dir, '../../src/media/picture/picture-process.ts'))});
    const processes = createPictureProcesses({ processes: 2, memoryBytes: 4e8, childPath: ${JSON.stringify(child('whimsical'))} });
    const target = new Uint8Array(12);
    const task = ${JSON.stringify(task)};
    await processes.decode(new TextEncoder().encode('a picture'), task, target);
    console.log(new DataView(target.buffer).getUint32(0));
    ${after}`;

  test('can exit while they are idle', async () => {
    const parent = Bun.spawn([process.execPath, '-e', program('')], { stdout: 'pipe' });
    const pid = Number(await parent.stdout.text());
    expect(await parent.exited).toBe(0);
    await untilGone(pid);
  });

  test('ends them when it is killed', async () => {
    const busyToo = `processes.decode(new TextEncoder().encode('wait'), task, target);
      setInterval(() => {}, 1000);`;
    const parent = Bun.spawn([process.execPath, '-e', program(busyToo)], { stdout: 'pipe' });
    let said = '';
    for await (const chunk of parent.stdout) {
      said += new TextDecoder().decode(chunk);
      if (said.endsWith('\n')) break;
    }
    parent.kill('SIGKILL');
    await untilGone(Number(said));
  });
});

describe('pictures that are decoded in another process', () => {
  const samples: Record<string, () => Promise<Uint8Array> | Uint8Array> = {
    TIFF: () => tiff(61, 47),
    'TIFF with opacity': () => tiff(61, 47, cutOut),
    'grey TIFF': () => greyTiff(61, 47, (x, y) => x + y),
    'TIFF strip': () => greyTiff(9000, 2, (x) => x & 255),
    AVIF: () => avif(61, 47),
    'AVIF with opacity': () => avif(61, 47, cutOut),
    'animated WebP': async () => animatedWebp(61, 47, [await webp(61, 47), await webp(61, 47, cutOut)]),
    'BMP with a palette': () => paletteBmp(61, 47),
  };
  const place = (bytes: Uint8Array, side: number) => {
    const header = readPictureHeader(bytes);
    return { header, place: resizeAndCrop(header.width, header.height, side) };
  };

  test.each(Object.entries(samples))('%s: every byte is the same as in this one', async (_, make) => {
    const bytes = Uint8Array.from(await make());
    expect(isIsolatedPicture(bytes)).toBe(true);
    const [here, there] = [new Uint8Array(224 * 224 * 3), new Uint8Array(224 * 224 * 3)];
    await decodeSquare(bytes, place(bytes, 224), here);
    await isolated.decode(bytes, { ...place(bytes, 224), memoryBytes: 50 * MEBI }, there);
    expect(Buffer.compare(here, there)).toBe(0);
    expect(there.some((value) => value !== there[0])).toBe(true);
  });

  test('are only of these kinds', async () => {
    const others = [
      await jpeg(61, 47),
      rgbPng(61, 47),
      await webp(61, 47),
      gif(61, 47, { palette: [[1, 2, 3]], index: () => 0 }),
      new TextEncoder().encode('no picture'),
    ];
    expect(others.map((bytes) => isIsolatedPicture(bytes))).toEqual(others.map(() => false));
    expect(isIsolatedPicture(concat(uint32be(24), 'ftypheic', uint32be(0), 'mif1heic'))).toBe(true);
    // Only the whole header shows whether it is a rare variant.
    expect(isIsolatedPicture(bmp(61, 47).subarray(0, 20))).toBe(true);
  });
});
