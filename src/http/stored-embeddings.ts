import type { ModelSummary } from '../classify/classifier.ts';
import { type Fit, MAX_PICTURE_TILES } from '../contract/options.ts';
import { ServiceError } from '../errors.ts';
import { JsonReader } from './json-reader.ts';

/** A picture that the client has sent as its embedding. */
export interface StoredEmbedding {
  readonly file: string;
  /** One of each tile; one unless the fit is `tiles`. */
  readonly tiles: readonly Float32Array[];
  /** The client's own name for it. */
  readonly id: string | undefined;
}

/** What an embedding was made with. */
interface Origin {
  readonly sha256?: unknown;
  readonly precision?: unknown;
  readonly fit?: unknown;
}

/** What embeddings must have been made with. */
interface Wanted {
  readonly model: ModelSummary;
  readonly fit: Fit;
}

/** An entry about which only the end of its document can say what made it. */
interface Unproven {
  readonly name: string;
  readonly lacksOrigin: boolean;
  readonly lacksFit: boolean;
}

/** A picture of which some tiles have come. */
interface Incomplete extends Omit<StoredEmbedding, 'tiles'> {
  readonly name: string;
  readonly tiles: Float32Array[];
  readonly count: number;
}

/** An embedding of 2048 numbers with all their digits has 50 KB. */
const MAX_ENTRY_BYTES = 256 * 1024;
/** Events of /embeddings without an embedding. */
const passedOver: ReadonlySet<unknown> = new Set(['progress', 'broken', 'end']);

/**
 * Reads a part named embeddings: an answer of /embeddings, as JSON or as lines of JSON, or what a client has written
 * like it: `{"sha256", "precision", "embeddings": [{"file", "embedding"}]}`, or `{"file", "embedding", "sha256"}` in a
 * list or in lines. An embedding is a list of numbers, or the base64 of float32 numbers in little-endian order. With the
 * fit `tiles`, the entries of a picture follow each other, each with its `tile` and the number of `tiles`.
 * @param add called for each picture
 * @throws ServiceError embeddings_invalid, embeddings_mismatch; what `add` throws
 */
export async function readStoredEmbeddings(
  content: AsyncIterator<Uint8Array>,
  { model, fit }: Wanted,
  add: (embedding: StoredEmbedding) => void,
): Promise<void> {
  const reader = new JsonReader(content, (why) => invalid(`The part embeddings is malformed: ${why}.`));
  let count = 0;
  let open: Incomplete | undefined;

  const requireComplete = () => {
    if (!open) return;
    const { name, tiles, count: all } = open;
    throw invalid(
      `${name} is tile ${tiles.length} of ${all}, and tile ${tiles.length + 1} does not follow; send all tiles of a picture, one after another, as /embeddings has answered them.`,
    );
  };

  const addTile = (embedding: StoredEmbedding, name: string, place: TilePlace) => {
    const [numbers = new Float32Array()] = embedding.tiles;
    const { file, id } = embedding;
    if (open && (open.file !== file || open.count !== place.tiles || open.tiles.length + 1 !== place.tile)) {
      requireComplete();
    }
    if (open?.id !== undefined && id !== undefined && open.id !== id) {
      throw invalid(
        `${name} has the id ${shorten(id)}, and the tile before it has ${shorten(open.id)}; all tiles of a picture have one id.`,
      );
    }
    if (!open && place.tile !== 1) {
      throw invalid(
        `${name} is tile ${place.tile} of ${place.tiles}, and tile ${place.tile - 1} is not before it; send all tiles of a picture, one after another, as /embeddings has answered them.`,
      );
    }
    const tiles = [...(open?.tiles ?? []), numbers];
    open = { file, id: open?.id ?? id, name, tiles, count: place.tiles };
    if (tiles.length < place.tiles) return;
    const { id: itsId } = open;
    open = undefined;
    add({ file, id: itsId, tiles });
  };

  const addEntry = (value: unknown, document: Origin): Unproven | undefined => {
    count += 1;
    const entry = isObject(value) ? value : {};
    const { file, id } = entry;
    if (typeof file !== 'string') {
      throw invalid(
        `Entry ${count} of the embeddings has no "file"; each needs the name of its picture, e.g. {"file":"photo.jpg","embedding":[…]}.`,
      );
    }
    if (id !== undefined && typeof id !== 'string') {
      throw invalid(`Entry ${count} of the embeddings has an "id" that is not a string.`);
    }
    const name = `The embedding of ${shorten(file)} (entry ${count})`;
    const origin = {
      sha256: entry.sha256 ?? document.sha256,
      precision: entry.precision ?? document.precision,
    };
    const place = tilePlaceOf(entry, name);
    const lacksOrigin = origin.sha256 === undefined;
    if (!lacksOrigin) checkOrigin(origin, model, name);
    const itsFit = entry.fit ?? document.fit ?? (place && 'tiles');
    const lacksFit = itsFit === undefined;
    if (!lacksFit) checkFit(itsFit, fit, name);
    if (itsFit === 'tiles' && !place) throw withoutTiles(name);
    if (itsFit !== 'tiles' && place) {
      throw invalid(`${name} has "tile" and "tiles", which only the fit "tiles" makes.`);
    }
    const embedding = { file, id, tiles: [numbersOf(entry.embedding, model, name)] };
    if (place) addTile(embedding, name, place);
    else {
      requireComplete();
      add(embedding);
    }
    return lacksOrigin || lacksFit ? { name, lacksOrigin, lacksFit } : undefined;
  };

  const addList = async (document: Origin): Promise<Unproven | undefined> => {
    let unproven: Unproven | undefined;
    for await (const _ of reader.entries()) {
      const next = addEntry(await reader.value(MAX_ENTRY_BYTES), document);
      unproven =
        (next && {
          name: next.name,
          lacksOrigin: next.lacksOrigin || unproven?.lacksOrigin === true,
          lacksFit: next.lacksFit || unproven?.lacksFit === true,
        }) ||
        unproven;
    }
    return unproven;
  };

  /** @param document all that it says about its embeddings */
  const prove = ({ name, lacksOrigin, lacksFit }: Unproven, document: Origin) => {
    if (lacksOrigin && document.sha256 === undefined) throw withoutOrigin(name);
    if (lacksOrigin) checkOrigin(document, model, name);
    if (!lacksFit) return;
    checkFit(document.fit ?? 'crop', fit, name);
    if (document.fit === 'tiles') throw withoutTiles(name);
  };

  /** An entry, an event, or a document of entries. */
  const addObject = async () => {
    const fields: Record<string, unknown> = {};
    let isDocument = false;
    let unproven: Unproven | undefined;
    for await (const key of reader.members()) {
      if (key === 'embeddings' && (await reader.peek()) === 'list') {
        isDocument = true;
        unproven = await addList(fields);
      } else {
        const value = await reader.value(MAX_ENTRY_BYTES);
        if (key !== '__proto__') fields[key] = value;
      }
    }
    if (!isDocument) {
      if (passedOver.has(fields.event)) return;
      const { event, data } = fields;
      if (event === 'error') throw invalid('The embeddings end with an error: they are incomplete.');
      unproven = addEntry(event === 'embedding' ? data : fields, {});
    }
    if (unproven) prove(unproven, isDocument ? fields : {});
  };

  for (;;) {
    const kind = await reader.peek();
    if (kind === 'end') break;
    if (kind === 'object') await addObject();
    else {
      const unproven = await addList({});
      if (unproven) prove(unproven, {});
    }
  }
  requireComplete();
}

/** Both from 1. */
interface TilePlace {
  readonly tile: number;
  readonly tiles: number;
}

/** @throws ServiceError embeddings_invalid */
function tilePlaceOf(
  { tile, tiles }: Readonly<Record<string, unknown>>,
  name: string,
): TilePlace | undefined {
  if (tile === undefined && tiles === undefined) return undefined;
  const isCount = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_PICTURE_TILES;
  if (isCount(tile) && isCount(tiles) && tile <= tiles) return { tile, tiles };
  throw invalid(
    `${name} has something else as "tile" and "tiles" than numbers from 1 to ${MAX_PICTURE_TILES}, e.g. "tile":1,"tiles":2.`,
  );
}

/** @throws ServiceError embeddings_mismatch */
function checkFit(made: unknown, wanted: Fit, name: string): void {
  if (made === wanted) return;
  const is = String(made).slice(0, 20);
  throw new ServiceError(
    'embeddings_mismatch',
    `${name} was made with fit=${is}, and this request has fit=${wanted}. Ask with fit=${is}, or make the embedding again with /embeddings?fit=${wanted}.${wanted === 'crop' ? '' : ' Embeddings that state no "fit" were made with crop.'}`,
  );
}

function withoutTiles(name: string): ServiceError {
  return invalid(`${name} was made with fit=tiles, but has no "tile" and "tiles".`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function withoutOrigin(name: string): ServiceError {
  return invalid(
    `${name} does not say of which model it is; send the "sha256" that /embeddings has answered, too.`,
  );
}

/** @throws ServiceError embeddings_mismatch */
function checkOrigin({ sha256, precision }: Origin, model: ModelSummary, name: string): void {
  const isOther = String(sha256).toLowerCase() !== model.sha256;
  if (!isOther && (precision === undefined || precision === model.precision)) return;
  const is = isOther
    ? `of another model, with the sha256 ${shorten(String(sha256))}`
    : `in ${shorten(String(precision))}`;
  throw new ServiceError(
    'embeddings_mismatch',
    `${name} is ${is}; the service has ${model.name} in ${model.precision}, with the sha256 "${model.sha256}". Make it again from the picture, with /embeddings.`,
  );
}

/** @throws ServiceError embeddings_invalid */
function numbersOf(written: unknown, { embeddingDimension }: ModelSummary, name: string): Float32Array {
  if (Array.isArray(written)) {
    const other = written.findIndex((value) => typeof value !== 'number');
    if (other === -1) return Float32Array.from(written);
    throw invalid(`${name} has something at ${other}, counted from 0, that is not a number.`);
  }
  if (typeof written !== 'string') {
    throw invalid(`${name} is missing; send a list of numbers, or the base64 of float32 numbers.`);
  }
  const bytes = Buffer.from(written, 'base64');
  if (bytes.byteLength % 4 !== 0 || bytes.toString('base64').length !== written.length) {
    throw invalid(`${name} is not the base64 of ${embeddingDimension} float32 numbers.`);
  }
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, index) => bytes.readFloatLE(4 * index));
}

function invalid(sentence: string): ServiceError {
  return new ServiceError('embeddings_invalid', sentence);
}

function shorten(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
