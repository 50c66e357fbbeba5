import type { EngineObserver } from '../engine-observer.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import type { WorkContext } from '../work-context.ts';
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

/** A picture of the request, as its embedding [D]. */
interface EncodedPicture {
  readonly file: string;
  readonly embedding: Float32Array;
}

/** Codes that are about one picture; all others end the request. */
const pictureFaults: ReadonlySet<ErrorCode> = new Set([
  'image_empty',
  'image_unsupported',
  'image_too_large',
  'image_broken',
]);

type Outcome = EncodedPicture | BrokenFile;

/**
 * Encodes a picture. Resolves when the next one may come, with the promise of the embedding. That promise is inside
 * an object, because awaiting the call would await a bare promise, too.
 */
export type EncodePicture = (
  picture: Uint8Array | StoredPicture,
  work: WorkContext,
) => Promise<{ readonly embedding: Promise<Float32Array> }>;

/** The pictures that one request has sent so far, in its order: each is 2 KB of embedding, or a fault. */
interface EncodedCollection {
  add: PictureCollection['add'];
  refuse(name: string, fault: ServiceError): void;
  names(): readonly string[];
  encoded(): Promise<readonly EncodedPicture[]>;
  broken(): Promise<readonly BrokenFile[]>;
}

export function createEncodedCollection(
  encode: EncodePicture,
  work: WorkContext,
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

  const settle = async (file: string, encoding: Promise<Float32Array>): Promise<Outcome> => {
    try {
      const embedding = await encoding;
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
      work.signal.throwIfAborted();
      const file = take(name);
      const { embedding } = await encode(picture, work);
      const outcome = settle(file, embedding);
      // An error that is not about the picture rejects the calls that wait for outcomes, not this promise.
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
