import { concat, uint32be } from './sample-pictures.ts';

type Bytes = Uint8Array | readonly number[] | string;

/** A picture coded as HEVC. */
export interface CodedPicture {
  readonly width: number;
  readonly height: number;
  /** The contents of an hvcC box. */
  readonly configuration: Uint8Array;
  readonly data: Uint8Array;
}

/** A box of a size and a name. */
export function box(type: string, ...contents: readonly Bytes[]): Uint8Array {
  const body = concat(...contents);
  return concat(uint32be(8 + body.length), type, body);
}

const fullBox = (type: string, ...contents: readonly Bytes[]) => box(type, [0, 0, 0, 0], ...contents);

function uint16be(value: number): readonly number[] {
  return [(value >> 8) & 255, value & 255];
}

export interface Item {
  readonly id: number;
  readonly type: string;
  readonly properties?: readonly Uint8Array[];
  /** Names of its properties that are essential. */
  readonly essential?: readonly string[];
  /** undefined: it has no data. */
  readonly data?: Uint8Array;
  /** Where its data are. Default: the file. */
  readonly place?: 'file' | 'meta box' | { readonly item: number; readonly offset: number };
  /** Data in pieces of this length. Default: one piece. */
  readonly pieceBytes?: number;
  readonly isEncrypted?: boolean;
}

export interface HeicForm {
  readonly items: readonly Item[];
  /** Default: the first item. */
  readonly primary?: number;
  readonly references?: readonly (readonly [type: string, from: number, to: readonly number[]])[];
  readonly brands?: readonly string[];
  /** Replaces the box that gives the items their properties. */
  readonly associations?: Uint8Array;
  /** Bytes after the last box. */
  readonly end?: Uint8Array;
}

/** Makes a HEIF file of items. */
export function heif({
  items,
  primary = items[0]!.id,
  references = [],
  brands = ['heic', 'mif1'],
  associations,
  end = new Uint8Array(0),
}: HeicForm): Uint8Array {
  const [major, ...compatible] = brands as [string, ...string[]];
  const fileType = box('ftyp', major, uint32be(0), major, ...compatible);
  const properties = items.flatMap(({ properties: own = [] }) => own);
  const inMeta = items.filter(({ place }) => place === 'meta box').map(({ data }) => data!);
  const inFile = items
    .filter(({ place = 'file', data }) => place === 'file' && data)
    .map(({ data }) => data!);

  const metaAt = (mediaData: number) => {
    const offsets = { file: mediaData, meta: 0 };
    const locations = items.flatMap((item) => {
      const { place = 'file', data, id, pieceBytes = data?.length ?? 0 } = item;
      if (!data) return [];
      const method = place === 'file' ? 0 : place === 'meta box' ? 1 : 2;
      let offset = typeof place === 'object' ? place.offset : method === 1 ? offsets.meta : offsets.file;
      if (method === 0) offsets.file += data.length;
      if (method === 1) offsets.meta += data.length;
      const pieces: number[][] = [];
      for (let left = data.length; left > 0; left -= pieceBytes) {
        const length = Math.min(left, pieceBytes);
        pieces.push([...uint32be(offset), ...uint32be(length)]);
        offset += length;
      }
      return [concat(uint16be(id), uint16be(method), uint16be(0), uint16be(pieces.length), ...pieces)];
    });
    let property = 0;
    const own = items.map(({ id, properties: own = [], essential = [] }) => {
      const entries = own.map((each) => {
        property += 1;
        return uint16be(
          property | (essential.includes(String.fromCharCode(...each.subarray(4, 8))) ? 0x8000 : 0),
        );
      });
      return concat(uint16be(id), [own.length], ...entries);
    });
    const links = items.flatMap(({ id, place }) =>
      typeof place === 'object' ? [['iloc', id, [place.item]] as const] : [],
    );
    return fullBox(
      'meta',
      fullBox('hdlr', uint32be(0), 'pict', uint32be(0), uint32be(0), uint32be(0), [0]),
      fullBox('pitm', uint16be(primary)),
      box('iloc', [1, 0, 0, 0, 0x44, 0], uint16be(locations.length), ...locations),
      fullBox(
        'iinf',
        uint16be(items.length),
        ...items.map(({ id, type, isEncrypted }) =>
          box('infe', [2, 0, 0, 0], uint16be(id), uint16be(isEncrypted ? 1 : 0), type, [0]),
        ),
      ),
      fullBox(
        'iref',
        ...[...references, ...links].map(([type, from, to]) =>
          box(type, uint16be(from), uint16be(to.length), ...to.map(uint16be)),
        ),
      ),
      box(
        'iprp',
        box('ipco', ...properties),
        associations ?? box('ipma', [0, 0, 0, 1], uint32be(own.length), ...own),
      ),
      ...(inMeta.length > 0 ? [box('idat', ...inMeta)] : []),
    );
  };
  // The offsets have the same length whatever they are.
  const length = fileType.length + metaAt(0).length;
  return concat(fileType, metaAt(length + 8), box('mdat', ...inFile), end);
}

export function sizeProperty(width: number, height: number): Uint8Array {
  return fullBox('ispe', uint32be(width), uint32be(height));
}

/** In the numbers of ISO/IEC 23091-2. */
export function coloursProperty({
  transfer = 13,
  matrix = 6,
  isFull = true,
}: {
  readonly transfer?: number;
  readonly matrix?: number;
  readonly isFull?: boolean;
} = {}): Uint8Array {
  return box('colr', 'nclx', uint16be(1), uint16be(transfer), uint16be(matrix), [isFull ? 0x80 : 0]);
}

/** Each number is a fraction: width, height, and how far the centre is moved. */
export function cutProperty(...fractions: readonly (readonly [number, number])[]): Uint8Array {
  return box('clap', ...fractions.flat().map((value) => uint32be(value >>> 0)));
}

/** An item that is coded as HEVC. */
export function codedItem(id: number, picture: CodedPicture, more: readonly Uint8Array[] = []): Item {
  const { width, height, configuration, data } = picture;
  return {
    id,
    type: 'hvc1',
    properties: [box('hvcC', configuration), sizeProperty(width, height), ...more],
    data,
  };
}

/** A grid's own data. */
export function gridData(columns: number, rows: number, width: number, height: number): Uint8Array {
  return concat([0, 0, rows - 1, columns - 1], uint16be(width), uint16be(height));
}

/** An image sequence of one frame, without items. `a b / c d` is the matrix that turns it. */
export function heicSequence(
  { width, height, configuration, data }: CodedPicture,
  [a, b, c, d]: readonly [number, number, number, number] = [1, 0, 0, 1],
): Uint8Array {
  const fileType = box('ftyp', 'hevc', uint32be(0), 'hevc', 'msf1');
  const one = 0x1_0000;
  const matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 0x4000_0000];
  const sample = box(
    'hvc1',
    new Uint8Array(24),
    uint16be(width),
    uint16be(height),
    new Uint8Array(50),
    box('hvcC', configuration),
  );
  const movie = (offset: number) =>
    box(
      'moov',
      box(
        'trak',
        fullBox(
          'tkhd',
          new Uint8Array(36),
          ...matrix.map((value) => uint32be(value >>> 0)),
          new Uint8Array(8),
        ),
        box(
          'mdia',
          fullBox('hdlr', uint32be(0), 'pict', new Uint8Array(13)),
          box(
            'minf',
            box(
              'stbl',
              fullBox('stsd', uint32be(1), sample),
              fullBox('stsz', uint32be(0), uint32be(1), uint32be(data.length)),
              fullBox('stco', uint32be(1), uint32be(offset)),
            ),
          ),
        ),
      ),
    );
  const offset = fileType.length + movie(0).length + 8;
  return concat(fileType, movie(offset), box('mdat', data));
}
