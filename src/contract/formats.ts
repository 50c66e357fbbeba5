/**
 * The pictures and videos that the service accepts: data only. Error sentences, the API document, the README and the
 * page's file chooser are made from these tables or compared with them.
 *
 * To add a picture format, add a row here. The compiler then asks for its signature, reader and decoder in media.
 */

interface Format {
  /** What people call it. */
  readonly title: string;
  /** What a sentence adds to the title in brackets: which part of the file is read. */
  readonly note?: string;
  /** File name endings in lower case, without the dot. */
  readonly endings: readonly string[];
  readonly mimeTypes: readonly string[];
}

interface PictureRow extends Format {
  /** Whether all current browsers show such pictures. If not, the service makes thumbnails for them. */
  readonly shownByBrowsers: boolean;
}

/** In the order in which they are listed. */
export const pictureFormats = {
  jpeg: {
    title: 'JPEG',
    endings: ['jpg', 'jpeg', 'jpe', 'jfif'],
    mimeTypes: ['image/jpeg'],
    shownByBrowsers: true,
  },
  png: { title: 'PNG', endings: ['png'], mimeTypes: ['image/png'], shownByBrowsers: true },
  webp: { title: 'WebP', endings: ['webp'], mimeTypes: ['image/webp'], shownByBrowsers: true },
  gif: {
    title: 'GIF',
    note: 'first frame',
    endings: ['gif'],
    mimeTypes: ['image/gif'],
    shownByBrowsers: true,
  },
  bmp: { title: 'BMP', endings: ['bmp'], mimeTypes: ['image/bmp'], shownByBrowsers: true },
  tiff: { title: 'TIFF', endings: ['tif', 'tiff'], mimeTypes: ['image/tiff'], shownByBrowsers: false },
  avif: { title: 'AVIF', endings: ['avif'], mimeTypes: ['image/avif'], shownByBrowsers: true },
  heic: {
    title: 'HEIC',
    endings: ['heic', 'heif', 'hif'],
    mimeTypes: ['image/heic', 'image/heif', 'image/heic-sequence', 'image/heif-sequence'],
    shownByBrowsers: false,
  },
  raw: {
    title: 'camera raw',
    note: 'its preview',
    endings: ['dng', 'nef', 'nrw', 'cr2', 'cr3', 'arw', 'rw2', 'orf', 'raf', 'pef', 'srw'],
    mimeTypes: ['image/x-adobe-dng', 'image/dng', 'image/x-dcraw'],
    shownByBrowsers: false,
  },
} as const satisfies Record<string, PictureRow>;

export type PictureFormat = keyof typeof pictureFormats;

/** In the order in which they are listed. */
export const videoContainers = {
  mp4: { title: 'MP4', endings: ['mp4'], mimeTypes: ['video/mp4'] },
  m4v: { title: 'M4V', endings: ['m4v'], mimeTypes: ['video/x-m4v'] },
  mov: { title: 'MOV', endings: ['mov'], mimeTypes: ['video/quicktime'] },
  '3gp': { title: '3GP', endings: ['3gp', '3g2'], mimeTypes: ['video/3gpp', 'video/3gpp2'] },
  webm: { title: 'WebM', endings: ['webm'], mimeTypes: ['video/webm'] },
  mkv: { title: 'MKV', endings: ['mkv'], mimeTypes: ['video/matroska', 'video/x-matroska'] },
  avi: { title: 'AVI', endings: ['avi'], mimeTypes: ['video/x-msvideo', 'video/vnd.avi'] },
  ts: { title: 'MPEG-TS', endings: ['ts', 'mts', 'm2ts'], mimeTypes: ['video/mp2t'] },
} as const satisfies Record<string, Format>;

/** In the order in which they are listed. */
export const videoCodecs = {
  h264: { title: 'H.264' },
  hevc: { title: 'HEVC' },
  av1: { title: 'AV1' },
  vp9: { title: 'VP9' },
  vp8: { title: 'VP8' },
  mpeg4: { title: 'MPEG-4' },
  mjpeg: { title: 'Motion JPEG' },
} as const satisfies Record<string, Pick<Format, 'title' | 'note'>>;

/**
 * The titles of a table as part of a sentence: `JPEG, GIF (first frame) and AVIF`.
 * @param conjunction the word before the last one
 */
export function listTitles(
  table: Readonly<Record<string, Pick<Format, 'title' | 'note'>>>,
  conjunction: 'and' | 'or',
): string {
  const titles = Object.values(table).map(({ title, note }) => (note ? `${title} (${note})` : title));
  return `${titles.slice(0, -1).join(', ')} ${conjunction} ${titles.at(-1)}`;
}

/** The value of a file chooser's `accept` for all formats of the tables. */
export function acceptOf(...tables: readonly Readonly<Record<string, Format>>[]): string {
  const formats = tables.flatMap((table) => Object.values(table));
  return formats
    .flatMap(({ mimeTypes, endings }) => [...mimeTypes, ...endings.map((ending) => `.${ending}`)])
    .join(',');
}

/** The title of the format of a table that a file's name ends as. */
export function titleByEnding(table: Readonly<Record<string, Format>>, name: string): string | undefined {
  const lower = name.toLowerCase();
  return Object.values(table).find(({ endings }) => endings.some((ending) => lower.endsWith(`.${ending}`)))
    ?.title;
}
