import { pictureFormats, videoContainers } from './formats.ts';

/**
 * Which names are of pictures and videos, accepted or not: no such file may be left out in silence.
 */

/** Endings in lower case, without the dot, by the format's name, of what no row of an accepted format names. */
const otherPictures: Readonly<Record<string, readonly string[]>> = {
  HEIC: ['heics', 'heifs', 'avci', 'avcs'],
  'JPEG XL': ['jxl'],
  'JPEG 2000': ['jp2', 'j2k', 'jpf', 'jpx'],
  'camera raw': [
    ...['3fr', 'crw', 'dcr', 'erf', 'fff', 'gpr', 'iiq', 'k25', 'kdc', 'mef', 'mos', 'mrw', 'raw', 'rwl'],
    ...['sr2', 'srf', 'x3f'],
  ],
  Photoshop: ['psd', 'psb'],
};

const otherVideos: Readonly<Record<string, readonly string[]>> = {
  MPEG: ['mpg', 'mpeg', 'mpe', 'm2v', 'vob', 'mod'],
  WMV: ['wmv', 'asf'],
  Flash: ['flv', 'f4v'],
  Ogg: ['ogv'],
  MP4: ['qt', 'insv', 'lrv'],
};

/** What a file is by the ending of its name. */
interface Medium {
  readonly kind: 'picture' | 'video';
  /** Of the format. */
  readonly title: string;
  readonly isAccepted: boolean;
}

const media: ReadonlyMap<string, Medium> = new Map([
  ...rowsOf('picture', false, Object.entries(otherPictures)),
  ...rowsOf('video', false, Object.entries(otherVideos)),
  ...rowsOf('picture', true, titled(pictureFormats)),
  ...rowsOf('video', true, titled(videoContainers)),
]);

/** @param name of a file, with or without its folders. @returns undefined if its ending is not of a picture or video */
export function mediumOf(name: string): Medium | undefined {
  return media.get(/\.([^./\\]+)$/.exec(name)?.[1]?.toLowerCase() ?? '');
}

function titled(
  table: Readonly<Record<string, { readonly title: string; readonly endings: readonly string[] }>>,
): [title: string, endings: readonly string[]][] {
  return Object.values(table).map(({ title, endings }) => [title, endings]);
}

function rowsOf(
  kind: Medium['kind'],
  isAccepted: boolean,
  formats: readonly (readonly [title: string, endings: readonly string[]])[],
): [ending: string, Medium][] {
  return formats.flatMap(([title, endings]) =>
    endings.map((ending): [string, Medium] => [ending, { kind, title, isAccepted }]),
  );
}
