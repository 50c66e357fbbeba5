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
  Categories,
  Classifier,
  CollectOptions,
  ModelSummary,
  PictureCollection,
  PictureEmbedding,
  PictureOutcome,
  RankingOptions,
  StoredPicture,
} from './classifier.ts';
import { createComparison, rank, rankEach } from './ranking.ts';
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

/**
 * The first and the last chunk of a large picture hold parts of others, too, so they are left to the collector. They have
 * half a MiB each, as the HTTP server reads them.
 */
const CHUNK_BYTES = 1024 ** 2;

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
      const { byteLength } = bytes;
      noteGarbage(giveBack(bytes) ? Math.min(byteLength, CHUNK_BYTES) : byteLength);
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

  const embedTexts: Classifier['embedTexts'] = async (texts, { template = verbatim }, { signal, times }) => {
    const beganAt = performance.now();
    const distinct = [...new Set(texts)];
    const embeddings = await labelEncoder.encode(distinct, template, signal);
    if (times) times.labelsMs += performance.now() - beganAt;
    if (distinct.length === texts.length) return embeddings;
    const embeddingOf = new Map(distinct.map((text, index) => [text, embeddings[index]!]));
    return texts.map((text) => embeddingOf.get(text)!);
  };

  /** The categories as candidates, with the model's rules for ranking them. */
  const candidatesOf = async (
    { labels }: Categories,
    { limit, ...options }: RankingOptions,
    work: WorkContext,
  ) => {
    const embeddings = await embedTexts(labels, options, work);
    return { labels: { names: labels, embeddings }, ranking: { score, limit } };
  };

  const collect = (work: WorkContext, options: CollectOptions = {}): PictureCollection => {
    const { faultOf = () => undefined, onThumbnail } = options;
    const background = options.background === undefined ? undefined : rgbOf(options.background);
    const nameOf = createFileNames();
    const names: string[] = [];
    const outcomes: Promise<PictureOutcome>[] = [];

    const take = (name: string): string => {
      const file = nameOf(name);
      names.push(file);
      return file;
    };

    const settle = async (
      file: string,
      encoding: Promise<Omit<PictureEmbedding, 'file'>>,
    ): Promise<PictureOutcome> => {
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
    const sides = async (categories: Categories, options: RankingOptions) => {
      const [pictures, candidates] = await Promise.all([encoded(), candidatesOf(categories, options, work)]);
      const files = {
        names: pictures.map(({ file }) => file),
        embeddings: pictures.map(({ embedding }) => embedding),
      };
      return { files, ...candidates };
    };

    return {
      async add(name, picture) {
        work.signal.throwIfAborted();
        const file = take(name);
        const { encoding } = await encodePicture(picture, { background, onThumbnail }, work);
        const settled = settle(file, encoding);
        // Callers need not wait for it: the calls that wait for all pictures reject, too.
        settled.catch(() => undefined);
        outcomes.push(settled);
        return { settled };
      },
      addEmbedding(name, embedding) {
        work.signal.throwIfAborted();
        checkEmbedding(name, embedding, model.embeddingDimension);
        outcomes.push(Promise.resolve({ file: take(name), embedding }));
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
      embeddings: encoded,
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
    embedTexts,
    countTokens: (texts, { template = verbatim }, { signal }) =>
      labelEncoder.countTokens(texts, template, signal),
    async createRanker(categories, options, work) {
      const { labels, ranking } = await candidatesOf(categories, options, work);
      return (embedding) => rank(embedding, labels, ranking);
    },
    async createComparison(categories, options, work) {
      const { labels, ranking } = await candidatesOf(categories, options, work);
      return createComparison(labels.embeddings, ranking);
    },
    searchVideo: createVideoSearch({
      openVideo,
      framing,
      places: videoPlaces,
      imageEncoder,
      score,
      encodeLabels: ({ labels }, options, work) => embedTexts(labels, options, work),
      observer,
    }),
    parseCategories: (document) => parseCategories(document, maxCategories),
    parseTexts: (document) => parseCategories(document, MAX_TEXTS, 'texts').labels,
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

/** How far a length may be from 1. Rounding to float32 takes a millionth. */
const LENGTH_TOLERANCE = 1e-3;

/** @throws ServiceError embeddings_invalid */
function checkEmbedding(name: string, embedding: Float32Array, dimension: number): void {
  const refuse = (fault: string) =>
    new ServiceError('embeddings_invalid', `The embedding of ${JSON.stringify(name)} ${fault}.`);
  if (embedding.length !== dimension) {
    throw refuse(`has ${embedding.length} numbers; those of this model have ${dimension}`);
  }
  const length = Math.sqrt(embedding.reduce((sum, value) => sum + value * value, 0));
  if (!Number.isFinite(length)) throw refuse('has a number that is not finite');
  if (Math.abs(length - 1) > LENGTH_TOLERANCE) {
    throw refuse(
      `has the length ${Number(length.toPrecision(4))}; embeddings are L2-normalised, to the length 1`,
    );
  }
}

function tooManyTexts(categories: number, templates: number): ServiceError {
  return new ServiceError(
    'categories_too_many',
    `${categories} categories in ${templates} templates are ${categories * templates} texts; at most ${MAX_TEXTS} are accepted. Send fewer templates, or at most ${Math.floor(MAX_TEXTS / templates)} categories with that many.`,
    { categories, templates, limit: MAX_TEXTS },
  );
}
