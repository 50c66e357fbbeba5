import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Score } from '../clip/family.ts';
import type { ImageEncoder, PixelSlot } from '../clip/image-encoder.ts';
import type { LabelEncoder } from '../clip/label-encoder.ts';
import { backgroundPhrases } from '../contract/background.ts';
import { MAX_PICTURE_TILES, MAX_TEXTS } from '../contract/options.ts';
import type { EngineObserver } from '../engine-observer.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import { giveBack, type NoteGarbage } from '../garbage.ts';
import type { LoadPicture, LoadPictureOptions, ReserveMemory, Rgb } from '../media/picture/picture.ts';
import { copyTile, type RgbImage, type TiledPicture } from '../media/tiles.ts';
import type { VideoPlaces } from '../media/video/video-places.ts';
import { createSemaphore, type Permit } from '../semaphore.ts';
import { runInTurns, takeTurns } from '../turns.ts';
import type { WorkContext } from '../work-context.ts';
import { parseCategories } from './categories.ts';
import type {
  Categories,
  Classifier,
  CollectOptions,
  LabelOptions,
  ModelSummary,
  PictureCollection,
  PictureEmbedding,
  PictureOutcome,
  RankingOptions,
  StoredPicture,
  Synonyms,
} from './classifier.ts';
import { averageEmbedding, joinTiles, usesBackground } from './decide.ts';
import { type Background, createComparison, rank, rankEach } from './ranking.ts';
import { findSynonyms } from './synonyms.ts';
import { createVideoSearch, type Framing, type OpenVideo } from './video-search.ts';

interface ClassifierParts {
  readonly model: ModelSummary;
  readonly score: Score;
  readonly imageEncoder: ImageEncoder;
  readonly labelEncoder: LabelEncoder;
  /** Decodes a picture into its slot, [S, S, 3] uint8. Settles when nothing reads the bytes any more. */
  readonly loadPicture: LoadPicture;
  readonly reserveMemory: ReserveMemory;
  /** Whether a picture is decoded in another process, which may take seconds. */
  readonly isIsolated: (bytes: Uint8Array) => boolean;
  /** Whether browsers need a thumbnail to show a picture. */
  readonly needsThumbnail: (bytes: Uint8Array) => boolean;
  /** Encodes what the model looks at as a JPEG file. */
  readonly encodeThumbnail: (picture: RgbImage) => Promise<Uint8Array>;
  /** How many of the encoder's slots such pictures may hold at a time. */
  readonly isolatedAtOnce: number;
  readonly openVideo: OpenVideo;
  /** The part of a video's frame that the model sees. */
  readonly framing: Framing;
  /** Places for videos that are decoded at the same time. */
  readonly videoPlaces: Pick<VideoPlaces, 'enter'>;
  readonly maxCategories: number;
  /** Memory for complete pictures that are not decoded yet. A larger picture waits until it is alone. */
  readonly undecodedBytes: number;
  /** Memory for decoded pictures whose squares wait for slots. */
  readonly tiledBytes: number;
  /** Called after each decoding with the picture's size: the memory that its bytes came in may be garbage now. */
  readonly noteGarbage: NoteGarbage;
  readonly observer: EngineObserver;
}

interface EncodePictureOptions extends Pick<CollectOptions, 'fit' | 'onTiles' | 'onThumbnail'> {
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

/** Questions whose synonyms are remembered: at most ten pairs each. */
const KNOWN_QUESTIONS = 64;

/** Leaves labels unchanged. */
const verbatim = ['{}'] as const;

/** Joins the encoders and the decoders to the use cases. */
export function createClipClassifier(parts: ClassifierParts): Classifier {
  const { model, score, imageEncoder, labelEncoder, loadPicture, reserveMemory, isIsolated, maxCategories } =
    parts;
  const { needsThumbnail, encodeThumbnail, openVideo, framing, videoPlaces, noteGarbage, observer } = parts;

  const synonyms = new LRUCache<string, readonly Synonyms[]>({ max: KNOWN_QUESTIONS });
  const undecoded = createSemaphore(parts.undecodedBytes);
  const isolated = createSemaphore(parts.isolatedAtOnce);
  const tiled = createSemaphore(parts.tiledBytes);
  const { imageResolution } = model;
  // Once for the decoded picture, and once for its copy from another process.
  const mostTiledBytes = 2 * MAX_PICTURE_TILES * imageResolution ** 2 * 3;

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
    { background, fit = 'crop', onTiles, onThumbnail }: EncodePictureOptions,
    work: WorkContext,
  ) => {
    const { signal, times } = work;
    const isWhole = picture instanceof Uint8Array;
    const head = isWhole ? picture : await picture.head();
    const isSlow = isIsolated(head);
    const hasThumbnail = onThumbnail !== undefined && needsThumbnail(head);
    using places = new DisposableStack();
    const take = async () => {
      using held = new DisposableStack();
      // Slow pictures wait in a separate queue, so that they do not delay the others.
      const turn = isSlow ? held.use(await isolated.acquire(1, signal)) : undefined;
      const share = held.use(await undecoded.acquire(picture.byteLength, signal));
      const bytes = isWhole ? picture : await picture.read();
      const kept = held.move();
      return { bytes, turn, share, [Symbol.dispose]: () => kept.dispose() };
    };
    let taken = await take();
    let memory: Permit | undefined;
    const { plan, reserve } = reserveMemory(taken.bytes, { background, fit });
    if (reserve) {
      // It may wait for videos. They need slots, and other pictures need what this one has taken.
      if (!isWhole) picture.putBack(taken.bytes);
      taken[Symbol.dispose]();
      memory = places.use(await reserve(signal));
      taken = await take();
    }
    const { bytes, turn, share } = places.use(taken);
    // Before the slot, because a picture keeps this memory while it waits for the slots of its further squares.
    const strip = fit === 'tiles' ? places.use(await tiled.acquire(mostTiledBytes, signal)) : undefined;
    const slot = await imageEncoder.acquireSlot(signal);
    places.move();
    const encodeSlot = async () => {
      using _strip = strip;
      using held = slot;
      const beganAt = performance.now();
      let loaded: Awaited<ReturnType<LoadPicture>>;
      {
        using _memory = memory;
        using _turn = turn;
        loaded = await decode(bytes, held, share, { background, fit, plan, signal });
      }
      const { warning, tiled: several } = loaded;
      const ms = performance.now() - beganAt;
      observer.pictureDecoded(ms);
      if (times) times.decodeMs += ms;
      // Before the slot is free: so few thumbnails are made at a time.
      const square = { width: imageResolution, height: imageResolution, pixels: held.pixels };
      const thumbnail = hasThumbnail ? await encodeThumbnail(several ?? square) : undefined;
      if (thumbnail) onThumbnail?.(thumbnail.byteLength);
      if (!several) return { embedding: await held.encode(signal, times), warning, thumbnail };
      onTiles?.((several.tiles - 1) * model.embeddingDimension * 4);
      return { embedding: await encodeTiles(several, held, work), warning, thumbnail };
    };
    return { encoding: encodeSlot() };
  };

  /**
   * Encodes the squares one after another: each slot is handed to the encoder before the next one is waited for, so
   * that pictures never wait for each other's slots.
   * @param first holds the first square
   * @returns [tiles, D] float32
   */
  const encodeTiles = async (
    picture: TiledPicture,
    first: PixelSlot,
    { signal, times }: WorkContext,
  ): Promise<Float32Array> => {
    const { tiles } = picture;
    const encoding = [first.encode(signal, times)];
    try {
      for (let order = 1; order < tiles; order++) {
        using slot = await imageEncoder.acquireSlot(signal);
        copyTile(picture, order, slot.pixels);
        encoding.push(slot.encode(signal, times));
      }
    } catch (fault) {
      await Promise.allSettled(encoding);
      throw fault;
    }
    return joinTiles(await Promise.all(encoding));
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

  /** @returns one embedding for each category: of its phrases, the mean, L2-normalised again */
  const embedCategories = async (
    { labels, phrases }: Categories,
    options: LabelOptions,
    work: WorkContext,
  ): Promise<readonly Float32Array[]> => {
    if (!phrases) return await embedTexts(labels, options, work);
    const embedded = await embedTexts(phrases.flat(), options, work);
    const turns = takeTurns(work.signal);
    const embeddings: Float32Array[] = [];
    let at = 0;
    for (const { length } of phrases) {
      embeddings.push(averageEmbedding(embedded.slice(at, at + length)));
      at += length;
      if (turns.isOver) await turns.next();
    }
    return embeddings;
  };

  /** @returns what candidates compete with; undefined if they compete with each other */
  const backgroundOf = async (
    options: RankingOptions,
    work: WorkContext,
  ): Promise<Background | undefined> => {
    if (!usesBackground(options)) return undefined;
    const embeddings = await embedTexts(backgroundPhrases, options, work);
    return { names: backgroundPhrases, embeddings, logitScale: model.logitScale, rules: options };
  };

  /** The categories as candidates, with the rules for ranking them. */
  const candidatesOf = async (categories: Categories, options: RankingOptions, work: WorkContext) => {
    const [embeddings, background] = await Promise.all([
      embedCategories(categories, options, work),
      backgroundOf(options, work),
    ]);
    const ranking = { score, limit: options.limit, background };
    return { labels: { names: categories.labels, embeddings }, ranking };
  };

  const collect = (work: WorkContext, options: CollectOptions = {}): PictureCollection => {
    const { faultOf = () => undefined, fit, onTiles, onThumbnail } = options;
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
        const { encoding } = await encodePicture(picture, { background, fit, onTiles, onThumbnail }, work);
        const settled = settle(file, encoding);
        // Callers need not wait for it: the calls that wait for all pictures reject, too.
        settled.catch(() => undefined);
        outcomes.push(settled);
        return { settled };
      },
      addEmbedding(name, tiles) {
        work.signal.throwIfAborted();
        for (const tile of tiles) checkEmbedding(name, tile, model.embeddingDimension);
        const embedding = joinTiles(tiles);
        outcomes.push(Promise.resolve({ file: take(name), embedding }));
        return embedding;
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
        const { onKept } = options;
        return await rankEach(files, labels, { ...ranking, pictures: 'subjects', onKept }, work);
      },
      async rankFiles(categories, options) {
        const { files, labels, ranking } = await sides(categories, options);
        return await rankEach(labels, files, { ...ranking, pictures: 'candidates' }, work);
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
    async findSynonyms(categories, options, work) {
      // Clients send the same question with many pictures in turn.
      const key = createHash('sha256')
        .update(JSON.stringify([categories, options.template]))
        .digest('base64');
      const known = synonyms.get(key);
      if (known) return known;
      const embeddings = await embedCategories(categories, options, work);
      const found = await runInTurns(findSynonyms(categories.labels, embeddings), work.signal);
      synonyms.set(key, found);
      return found;
    },
    searchVideo: createVideoSearch({
      openVideo,
      framing,
      places: videoPlaces,
      imageEncoder,
      score,
      encodeLabels: embedCategories,
      backgroundOf,
      observer,
    }),
    parseCategories: (document) => parseCategories(document, maxCategories),
    parseTexts: (document) => parseCategories(document, MAX_TEXTS, 'texts').labels,
    async checkLabels({ labels, phrases }, { template = verbatim, ...rules }, { signal }) {
      const texts = phrases?.flat() ?? labels;
      if ((template.length > 1 || phrases) && texts.length * template.length > MAX_TEXTS) {
        throw tooManyTexts(texts.length, template.length, phrases ? 'phrases' : 'categories');
      }
      await labelEncoder.check(texts, template, signal);
      if (usesBackground(rules)) await labelEncoder.check(backgroundPhrases, template, signal);
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

function tooManyTexts(count: number, templates: number, listed: 'categories' | 'phrases'): ServiceError {
  const sentence =
    templates === 1
      ? `The categories have ${count} ${listed}; at most ${MAX_TEXTS} are accepted.`
      : `${count} ${listed} in ${templates} templates are ${count * templates} texts; at most ${MAX_TEXTS} are accepted. Send fewer templates, or at most ${Math.floor(MAX_TEXTS / templates)} ${listed} with that many.`;
  return new ServiceError('categories_too_many', sentence, { [listed]: count, templates, limit: MAX_TEXTS });
}
