import type { EngineObserver } from '../engine-observer.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import type { BrokenFile, FaultOf, PictureCollection, StoredPicture } from './classifier.ts';

/**
 * Keeps the names of one request apart: a second picture of the same name becomes `name (2)`, so that
 * both have a place in an answer that is keyed by name.
 */
export function createFileNames(): (name: string) => string {
  const taken = new Set<string>();
  const copies = new Map<string, number>();
  return (name) => {
    let unique = name;
    for (let copy = copies.get(name) ?? 1; taken.has(unique); unique = `${name} (${copy})`) {
      copy += 1;
      copies.set(name, copy);
    }
    taken.add(unique);
    return unique;
  };
}

/** A picture of the request that became an embedding [D]. */
interface EncodedPicture {
  readonly file: string;
  readonly embedding: Float32Array;
}

/** What is wrong with a picture, and not with the request or with us. */
const pictureFaults: ReadonlySet<ErrorCode> = new Set([
  'image_empty',
  'image_unsupported',
  'image_too_large',
  'image_broken',
]);

type Outcome = EncodedPicture | BrokenFile;

/**
 * Takes a picture's bytes; resolves when the next one may come, with the promise of its embedding. The
 * embedding is promised inside an object because a bare promise would be awaited along.
 */
export type EncodePicture = (
  picture: Uint8Array | StoredPicture,
  signal: AbortSignal,
) => Promise<{ readonly embedding: Promise<Float32Array> }>;

/** What one request has sent so far, in its order: of every picture 2 KB of embedding, or its fault. */
interface EncodedCollection {
  add: PictureCollection['add'];
  refuse(name: string, fault: ServiceError): void;
  names(): readonly string[];
  encoded(): Promise<readonly EncodedPicture[]>;
  broken(): Promise<readonly BrokenFile[]>;
}

export function createEncodedCollection(
  encode: EncodePicture,
  signal: AbortSignal,
  observer: Pick<EngineObserver, 'pictureEncoded' | 'pictureBroken'>,
  faultOf: FaultOf = () => undefined,
): EncodedCollection {
  const nameOf = createFileNames();
  const names: string[] = [];
  const outcomes: Promise<Outcome>[] = [];

  const take = (name: string): string => {
    const file = nameOf(name);
    names.push(file);
    return file;
  };

  const settle = async (file: string, work: Promise<Float32Array>): Promise<Outcome> => {
    try {
      const embedding = await work;
      observer.pictureEncoded();
      return { file, embedding };
    } catch (thrown) {
      const isPictures = thrown instanceof ServiceError && pictureFaults.has(thrown.code);
      const fault = isPictures ? thrown : faultOf(thrown);
      if (fault === undefined) throw thrown;
      observer.pictureBroken(fault.code);
      return { file, code: fault.code, error: fault.message };
    }
  };

  return {
    async add(name, picture) {
      signal.throwIfAborted();
      const file = take(name);
      const { embedding } = await encode(picture, signal);
      const outcome = settle(file, embedding);
      // A fault that is not the picture's is thrown to whoever asks for the outcomes, if anybody still does.
      const settled = outcome.then(
        () => undefined,
        () => undefined,
      );
      outcomes.push(outcome);
      return { settled };
    },
    refuse(name, { code, message }) {
      observer.pictureBroken(code);
      outcomes.push(Promise.resolve({ file: take(name), code, error: message }));
    },
    names: () => names,
    async encoded() {
      return (await Promise.all(outcomes)).filter((outcome) => 'embedding' in outcome);
    },
    async broken() {
      return (await Promise.all(outcomes)).filter((outcome) => 'error' in outcome);
    },
  };
}
