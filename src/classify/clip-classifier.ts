import type { Score } from '../clip/family.ts';
import type { ImageEncoder, PixelSlot } from '../clip/image-encoder.ts';
import type { LabelEncoder } from '../clip/label-encoder.ts';
import { MAX_TEXTS } from '../contract/options.ts';
import type { EngineObserver } from '../engine-observer.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import { giveBack, type NoteGarbage } from '../garbage.ts';
import type { LoadPicture, LoadPictureOptions, Rgb } from '../media/picture/picture.ts';
import type { VideoPlaces } from '../media/video/video-places.ts';
import { createSemaphore, type Permit } from '../semaphore.ts';
import type { WorkContext } from '../work-context.ts';
import { parseCategories } from './categories.ts';
import type {
  BrokenFile,
  Categories,
  Classifier,
  CollectOptions,
  LabelOptions,
  ModelSummary,
  PictureCollection,
  RankingOptions,
  StoredPicture,
} from './classifier.ts';
import { rankEach } from './ranking.ts';
import { createVideoSearch, type Framing, type OpenVideo } from './video-search.ts';

interface ClassifierParts {
  readonly model: ModelSummary;
  readonly score: Score;
  readonly imageEncoder: ImageEncoder;
  readonly labelEncoder: LabelEncoder;
  /** Decodes a picture into its slot, [S, S, 3] uint8. Settles when nothing reads the bytes any more. */
  readonly loadPicture: LoadPicture;
  /** Whether a picture is decoded in another process, which may take seconds. */
  readonly isIsolated: (bytes: Uint8Array) => boolean;
  /** Whether browsers need a thumbnail to show a picture. */
  readonly needsThumbnail: (bytes: Uint8Array) => boolean;
  /** Encodes a filled slot as a JPEG file. */
  readonly encodeThumbnail: (pixels: Uint8Array) => Promise<Uint8Array>;
  /** How many of the encoder's slots such pictures may hold at a time. */
  readonly isolatedAtOnce: number;
  readonly openVideo: OpenVideo;
  /** The part of a video's frame that the model sees. */
  readonly framing: Framing;
  /** Places for videos that are decoded at the same time. */
  readonly videoPlaces: VideoPlaces;
  readonly maxCategories: number;
  /** Memory for complete pictures that are not decoded yet. A larger picture waits until it is alone. */
  readonly undecodedBytes: number;
  /** Called after each decoding with the picture's size: the memory that its bytes came in may be garbage now. */
  readonly noteGarbage: NoteGarbage;
  readonly observer: EngineObserver;
}

/** A picture of the request, as its embedding [D]. */
interface EncodedPicture {
  readonly file: string;
  readonly embedding: Float32Array;
  /** A sentence about the part of the picture that is missing. */
  readonly warning: string | undefined;
  /** A JPEG file. */
  readonly thumbnail: Uint8Array | undefined;
}

type Outcome = EncodedPicture | BrokenFile;

interface EncodePictureOptions extends Pick<CollectOptions, 'onThumbnail'> {
  readonly background: Rgb | undefined;
}

/** Codes that are about one picture; all others end the request. */
const pictureFaults: ReadonlySet<ErrorCode> = new Set([
  'image_empty',
  'image_unsupported',
  'image_too_large',
  'image_broken',
]);

/** Leaves labels unchanged. */
const verbatim = ['{}'] as const;

/** Joins the encoders and the decoders to the use cases. */
export function createClipClassifier(parts: ClassifierParts): Classifier {
  const { model, score, imageEncoder, labelEncoder, loadPicture, isIsolated, maxCategories } = parts;
  const { needsThumbnail, encodeThumbnail, openVideo, framing, videoPlaces, noteGarbage, observer } = parts;

  const undecoded = createSemaphore(parts.undecodedBytes);
  const isolated = createSemaphore(parts.isolatedAtOnce);

  const decode = async (bytes: Uint8Array, slot: PixelSlot, share: Permit, options: LoadPictureOptions) => {
    try {
      using _ = share;
      return await loadPicture(bytes, slot.pixels, options);
    } finally {
      // Nothing reads the bytes any more: `loadPicture` waits for its decoder even after the client has left.
      noteGarbage(bytes.byteLength);
      giveBack(bytes);
    }
  };

  /**
   * Resolves when the next picture may come, with the promise of the embedding. That promise is inside an object,
   * because awaiting the call would await a bare promise, too.
   */
  const encodePicture = async (
    picture: Uint8Array | StoredPicture,
    { background, onThumbnail }: EncodePictureOptions,
    { signal, times }: WorkContext,
  ) => {
    const isWhole = picture instanceof Uint8Array;
    using places = new DisposableStack();
    // Slow pictures wait in a separate queue, so that they do not delay the others.
    const head = isWhole ? picture : await picture.head();
    const turn = isIsolated(head) ? places.use(await isolated.acquire(1, signal)) : undefined;
    const hasThumbnail = onThumbnail !== undefined && needsThumbnail(head);
    const share = places.use(await undecoded.acquire(picture.byteLength, signal));
    const bytes = isWhole ? picture : await picture.read();
    const slot = await imageEncoder.acquireSlot(signal);
    places.move();
    const encodeSlot = async () => {
      using held = slot;
      const beganAt = performance.now();
      let warning: string | undefined;
      {
        using _turn = turn;
        warning = await decode(bytes, held, share, { background, signal });
      }
      const ms = performance.now() - beganAt;
      observer.pictureDecoded(ms);
      if (times) times.decodeMs += ms;
      // Before the slot is free: so few thumbnails are made at a time.
      const thumbnail = hasThumbnail ? await encodeThumbnail(held.pixels) : undefined;
      if (thumbnail) onThumbnail?.(thumbnail.byteLength);
      return { embedding: await held.encode(signal, times), warning, thumbnail };
    };
    return { encoding: encodeSlot() };
  };

  const encodeLabels = async (
    { labels }: Categories,
    { template = verbatim }: LabelOptions,
    { signal, times }: WorkContext,
  ): Promise<readonly Float32Array[]> => {
    const beganAt = performance.now();
    const embeddings = await labelEncoder.encode(labels, template, signal);
    if (times) times.labelsMs += performance.now() - beganAt;
    return embeddings;
  };

  const collect = (work: WorkContext, options: CollectOptions = {}): PictureCollection => {
    const { faultOf = () => undefined, onThumbnail } = options;
    const background = options.background === undefined ? undefined : rgbOf(options.background);
    const nameOf = createFileNames();
    const names: string[] = [];
    const outcomes: Promise<Outcome>[] = [];

    const take = (name: string): string => {
      const file = nameOf(name);
      names.push(file);
      return file;
    };

    const settle = async (
      file: string,
      encoding: Promise<Omit<EncodedPicture, 'file'>>,
    ): Promise<Outcome> => {
      try {
        const encoded = await encoding;
        observer.pictureEncoded();
        return { file, ...encoded };
      } catch (thrown) {
        const isPictures = thrown instanceof ServiceError && pictureFaults.has(thrown.code);
        const fault = isPictures ? thrown : faultOf(thrown);
        if (fault === undefined) throw thrown;
        observer.pictureBroken(fault.code);
        return { file, code: fault.code, error: fault.message };
      }
    };

    const encoded = async () => (await Promise.all(outcomes)).filter((outcome) => 'embedding' in outcome);

    /** Both sides of every comparison, each in the order sent. */
    const sides = async (categories: Categories, { limit, ...options }: RankingOptions) => {
      const [pictures, labelEmbeddings] = await Promise.all([
        encoded(),
        encodeLabels(categories, options, work),
      ]);
      return {
        files: {
          names: pictures.map(({ file }) => file),
          embeddings: pictures.map(({ embedding }) => embedding),
        },
        labels: { names: categories.labels, embeddings: labelEmbeddings },
        ranking: { score, limit },
      };
    };

    return {
      async add(name, picture) {
        work.signal.throwIfAborted();
        const file = take(name);
        const { encoding } = await encodePicture(picture, { background, onThumbnail }, work);
        const outcome = settle(file, encoding);
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
      warnings: async () =>
        (await encoded()).flatMap(({ file, warning }) => (warning === undefined ? [] : [{ file, warning }])),
      thumbnails: async () =>
        (await encoded()).flatMap(({ file, thumbnail }) =>
          thumbnail === undefined ? [] : [{ file, jpeg: thumbnail }],
        ),
      broken: async () => (await Promise.all(outcomes)).filter((outcome) => 'error' in outcome),
      async rankCategories(categories, options) {
        const { files, labels, ranking } = await sides(categories, options);
        return await rankEach(files, labels, ranking, work);
      },
      async rankFiles(categories, options) {
        const { files, labels, ranking } = await sides(categories, options);
        return await rankEach(labels, files, ranking, work);
      },
    };
  };

  return {
    model,
    searchVideo: createVideoSearch({
      openVideo,
      framing,
      places: videoPlaces,
      imageEncoder,
      score,
      encodeLabels,
      observer,
    }),
    parseCategories: (document) => parseCategories(document, maxCategories),
    async checkLabels({ labels }, { template = verbatim }, { signal }) {
      if (template.length > 1 && labels.length * template.length > MAX_TEXTS) {
        throw tooManyTexts(labels.length, template.length);
      }
      await labelEncoder.check(labels, template, signal);
    },
    collect,
  };
}

/** @param colour `#rrggbb` */
function rgbOf(colour: string): Rgb {
  const word = Number.parseInt(colour.slice(1), 16);
  return [word >> 16, (word >> 8) & 0xff, word & 0xff];
}

/**
 * Keeps the names of one request distinct: a second picture of the same name becomes `name (2)`, because answers have
 * the names as keys.
 */
function createFileNames(): (name: string) => string {
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

function tooManyTexts(categories: number, templates: number): ServiceError {
  return new ServiceError(
    'categories_too_many',
    `${categories} categories in ${templates} templates are ${categories * templates} texts; at most ${MAX_TEXTS} are accepted. Send fewer templates, or at most ${Math.floor(MAX_TEXTS / templates)} categories with that many.`,
    { categories, templates, limit: MAX_TEXTS },
  );
}
