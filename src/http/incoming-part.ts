import { ServiceError } from '../errors.ts';
import { giveBack } from '../garbage.ts';
import { type Lease, overloaded } from './resources.ts';
import type { Spool, SpoolWriter, StoredFile } from './spool.ts';

/** A part that is complete; its bytes lie in memory or in the temporary folder. */
export interface IncomingPart extends AsyncDisposable {
  readonly byteLength: number;
  /** Its first bytes, as many as tell its format; before `read`. @throws ServiceError storage_full */
  head(): Promise<Uint8Array> | Uint8Array;
  /** Its bytes, once; they are the caller's from then on. @throws ServiceError storage_full */
  read(): Promise<Uint8Array> | Uint8Array;
  /** Gives back what it takes, once its bytes are in other hands or will not be asked for. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where a part may lie until it is complete. */
export interface PartRoom {
  readonly lease: Lease;
  /** The request's own temporary folder, which is made when it is first needed. */
  readonly spool: () => Promise<Spool>;
  /** Told why the temporary folder cannot be used, where it cannot. */
  readonly onStorageFault: (fault: ServiceError) => void;
}

/** The memory for parts of all requests. */
export interface PartMemory {
  readonly used: number;
  readonly capacity: number;
}

/** More than any format is recognised by. */
const HEAD_BYTES = 4096;
/** A part that has been on its way for so long is a slow one. */
const SLOW_MS = 2000;
/** Slow parts leave this share of the memory to the fast ones. */
const FAST_SHARE = 0.5;

/**
 * Takes a part that is to be there whole. It stays in memory while there is room; otherwise, and where it is slow
 * while memory fills up, it goes to the temporary folder.
 * @returns undefined as soon as there are more bytes than `maxBytes`: the rest of `content` is unread
 * @throws ServiceError overloaded; whatever `content` throws
 */
export async function receivePart(
  content: AsyncIterator<Uint8Array>,
  maxBytes: number,
  memory: PartMemory,
  room: PartRoom,
): Promise<IncomingPart | undefined> {
  const { lease } = room;
  const beganAt = performance.now();
  const gathered = createGathered();
  const drop = () => {
    lease.give('partBytes', gathered.byteLength);
    gathered.clear();
  };
  const isSlow = () => performance.now() - beganAt >= SLOW_MS && memory.used > FAST_SHARE * memory.capacity;
  let mayBeStored = true;
  try {
    for (;;) {
      const { done, value: chunk } = await content.next();
      if (done) return inMemory(gathered, lease);
      if (gathered.byteLength + chunk.byteLength > maxBytes) {
        drop();
        return undefined;
      }
      const fits = !(mayBeStored && isSlow()) && lease.tryTake('partBytes', chunk.byteLength);
      if (!fits) {
        const stored = mayBeStored ? await createFile(room) : undefined;
        if (stored) {
          const first = gathered.byteLength === 0 ? [] : [gathered.take()];
          lease.give('partBytes', first[0]?.byteLength ?? 0);
          return await inFile(stored, [...first, chunk], content, maxBytes);
        }
        mayBeStored = false;
        lease.take('partBytes', chunk.byteLength);
      }
      gathered.push(chunk);
    }
  } catch (fault) {
    drop();
    if (!(fault instanceof ServiceError) || fault.code !== 'storage_full') throw fault;
    room.onStorageFault(fault);
    throw overloaded('There is no more room for uploads');
  }
}

function inMemory(gathered: Gathered, lease: Lease): IncomingPart {
  const { byteLength } = gathered;
  let isHeld = true;
  return {
    byteLength,
    head: () => gathered.head(HEAD_BYTES),
    read: () => gathered.take(),
    async [Symbol.asyncDispose]() {
      if (!isHeld) return;
      isHeld = false;
      lease.give('partBytes', byteLength);
    },
  };
}

interface NewFile {
  readonly spool: Spool;
  readonly writer: SpoolWriter;
}

/** @returns undefined where the temporary folder cannot be used */
async function createFile({ spool: openSpool, onStorageFault }: PartRoom): Promise<NewFile | undefined> {
  try {
    const spool = await openSpool();
    return { spool, writer: await spool.create() };
  } catch (fault) {
    if (!(fault instanceof ServiceError) || fault.code !== 'storage_full') throw fault;
    onStorageFault(fault);
    return undefined;
  }
}

async function inFile(
  { spool, writer }: NewFile,
  first: readonly Uint8Array[],
  content: AsyncIterator<Uint8Array>,
  maxBytes: number,
): Promise<IncomingPart | undefined> {
  const append = async (chunk: Uint8Array) => {
    await writer.append(chunk);
    giveBack(chunk);
  };
  let file: StoredFile;
  try {
    for (const chunk of first) await append(chunk);
    for (;;) {
      const { done, value: chunk } = await content.next();
      if (done) break;
      if (writer.bytes + chunk.byteLength > maxBytes) {
        await spool.remove(await writer.end());
        return undefined;
      }
      await append(chunk);
    }
    file = await writer.end();
  } catch (fault) {
    await spool.remove(await writer.end());
    throw fault;
  }
  return {
    byteLength: file.bytes,
    head: () => spool.readHead(file, HEAD_BYTES),
    read: () => spool.read(file),
    [Symbol.asyncDispose]: () => spool.remove(file),
  };
}

/** Chunks of one part. */
interface Gathered {
  readonly byteLength: number;
  push(chunk: Uint8Array): void;
  /** The first of them, copied, up to so many bytes. */
  head(bytes: number): Uint8Array;
  /** All of them as one, in a buffer of its own. */
  take(): Uint8Array;
  clear(): void;
}

/** Below this, what lies around a chunk weighs more than its bytes. */
const LARGE_CHUNK = 16 * 1024;

/**
 * Takes no more memory than the bytes have: a chunk that keeps a larger buffer alive is copied, and small ones are
 * joined (each byte is copied some ten times at most, as the pieces double).
 */
function createGathered(): Gathered {
  let chunks: Uint8Array[] = [];
  let byteLength = 0;
  const join = (pieces: readonly Uint8Array[]): Uint8Array => {
    const whole = new Uint8Array(pieces.reduce((sum, { byteLength: bytes }) => sum + bytes, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.byteLength;
      // One that fills its buffer has nothing in it that others still wait for.
      giveBack(piece);
    }
    return whole;
  };
  return {
    get byteLength() {
      return byteLength;
    },
    push(chunk) {
      if (chunk.byteLength === 0) return;
      byteLength += chunk.byteLength;
      chunks.push(2 * chunk.byteLength < chunk.buffer.byteLength ? chunk.slice() : chunk);
      for (;;) {
        const last = chunks.at(-1)?.byteLength ?? 0;
        const before = chunks.at(-2)?.byteLength;
        if (before === undefined || last < before || last + before > LARGE_CHUNK) return;
        chunks.push(join(chunks.splice(-2)));
      }
    },
    head(bytes) {
      const first: Uint8Array[] = [];
      let length = 0;
      for (const chunk of chunks) {
        if (length >= bytes) break;
        first.push(chunk.subarray(0, bytes - length));
        length += chunk.byteLength;
      }
      return Buffer.concat(first);
    },
    take() {
      const whole = join(chunks);
      chunks = [];
      byteLength = 0;
      return whole;
    },
    clear() {
      for (const chunk of chunks) giveBack(chunk);
      chunks = [];
      byteLength = 0;
    },
  };
}
