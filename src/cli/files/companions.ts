import { readdir } from 'node:fs/promises';
import { basename, dirname, join, parse } from 'node:path';
import { LRUCache } from 'lru-cache';
import { mediumOf } from '../../contract/media-endings.ts';

/**
 * Files that belong to a photo, by their names: sidecars, the video of a live photo, and the raw picture of a pair.
 */

/** Endings of sidecars, in lower case: `IMG_1.jpg.xmp` of darktable, digiKam and Immich, `IMG_1.xmp` of Lightroom. */
const afterName = new Set(['.xmp', '.aae', '.pp3', '.dop', '.json']);
const afterStem = new Set(['.xmp', '.aae', '.thm']);
/** Of live photos: only Apple's, Samsung's and Google's cameras give a photo and its video one name. */
const liveVideos = new Set(['.mov', '.mp4']);
const liveStills = new Set(['.heic', '.heif', '.jpg', '.jpeg']);

/** The photo that the files of a shared stem belong to, most likely first. */
const preference = ['.heic', '.heif', '.jpg', '.jpeg'];

const isRaw = (name: string): boolean => mediumOf(name)?.title === 'camera raw';

const rankOf = (name: string): number => {
  if (isRaw(name)) return preference.length + 1;
  const rank = preference.indexOf(parse(name).ext.toLowerCase());
  return rank === -1 ? preference.length : rank;
};

/** Programs on Windows and macOS do not tell letters of a name apart by their case. */
const fold = (name: string): string => name.normalize('NFC').toLowerCase();

/**
 * @param names all names of one folder
 * @returns [companion] its photo
 */
export function ownersIn(names: readonly string[]): ReadonlyMap<string, string> {
  const byName = new Map<string, string>();
  const byStem = new Map<string, string>();
  const visible = names.filter((name) => !name.startsWith('.'));
  const others = visible.filter((name) => !isPhoto(name));
  const photos = visible.filter(isPhoto).toSorted((a, b) => rankOf(a) - rankOf(b));
  for (const photo of photos) {
    const stem = fold(parse(photo).name);
    // A raw picture is a photo of its own only if it is alone.
    if (isRaw(photo) && byStem.has(stem)) {
      others.push(photo);
      continue;
    }
    byName.set(fold(photo), photo);
    if (!byStem.has(stem)) byStem.set(stem, photo);
  }

  const owners = new Map<string, string>();
  for (const name of others) {
    const owner = byStem.get(fold(parse(name).name));
    if (owner !== undefined && sharesStem(name, owner)) owners.set(name, owner);
  }
  // A sidecar of a raw picture belongs to the photo that the raw picture belongs to.
  for (const [name, owner] of owners) if (!byName.has(fold(name))) byName.set(fold(name), owner);
  for (const name of others) {
    const owner = namesBeforeSidecar(name)
      .map((candidate) => byName.get(fold(candidate)))
      .find((candidate) => candidate !== undefined);
    if (owner !== undefined) owners.set(name, owner);
  }
  return owners;
}

function isPhoto(name: string): boolean {
  const medium = mediumOf(name);
  return medium?.kind === 'picture' && medium.isAccepted;
}

function sharesStem(name: string, owner: string): boolean {
  const ending = parse(name).ext.toLowerCase();
  if (afterStem.has(ending)) return true;
  if (liveVideos.has(ending)) return liveStills.has(parse(owner).ext.toLowerCase());
  return isRaw(name);
}

/** `IMG_1.jpg` for `IMG_1.jpg.xmp`; also for a second edit of darktable, `IMG_1_01.jpg.xmp`, and for Google's JSON. */
function namesBeforeSidecar(name: string): readonly string[] {
  const { name: whole, ext } = parse(name);
  if (!afterName.has(ext.toLowerCase())) return [];
  const { name: stem, ext: ending } = parse(whole);
  return [
    whole,
    ...(/_\d\d$/.test(stem) ? [`${stem.slice(0, -3)}${ending}`] : []),
    ...(fold(ending) === '.supplemental-metadata' ? [stem] : []),
  ];
}

/** Names that would be taken for companions of a photo of this name. Not all spellings, but those that are in use. */
export function companionNames(photo: string): readonly string[] {
  const { name: stem, ext } = parse(photo);
  const videos = liveStills.has(ext.toLowerCase()) ? liveVideos : [];
  const endings = [...afterStem, ...videos].flatMap((ending) => [ending, ending.toUpperCase()]);
  return [...endings.map((ending) => stem + ending), `${photo}.xmp`];
}

/** The name of a companion after its photo was renamed. */
export function renamedWith(companion: string, photo: string, newPhoto: string): string {
  return parse(newPhoto).name + companion.slice(parse(photo).name.length);
}

interface Folder {
  /** [companion] its photo, by names */
  readonly owners: Map<string, string>;
  /** [photo] its companions, by names */
  readonly companions: Map<string, Set<string>>;
}

/** The companions of photos, as the folders were when they were first asked for. */
export interface Companions {
  /** Paths of the files that belong to a photo, sorted. */
  of(photo: string): Promise<readonly string[]>;
  /** The path of the photo that a file belongs to. */
  ownerOf(path: string): Promise<string | undefined>;
  /** Tells that this run has made a companion. */
  made(path: string, photo: string): void;
}

/** Photos come folder by folder. */
const FOLDERS_KEPT = 16;

export function createCompanions(): Companions {
  const folders = new LRUCache<string, Folder>({ max: FOLDERS_KEPT });
  const folderOf = async (path: string): Promise<Folder> => {
    const folder = dirname(path);
    const known = folders.get(folder);
    if (known) return known;
    const listed: Folder = { owners: new Map(), companions: new Map() };
    // What cannot be listed has no companions that could be found.
    for (const [name, owner] of ownersIn(await readdir(folder).catch(() => []))) add(listed, name, owner);
    folders.set(folder, listed);
    return listed;
  };
  return {
    async of(photo) {
      const found = (await folderOf(photo)).companions.get(basename(photo)) ?? [];
      return [...found].toSorted().map((name) => join(dirname(photo), name));
    },
    async ownerOf(path) {
      const owner = (await folderOf(path)).owners.get(basename(path));
      return owner === undefined ? undefined : join(dirname(path), owner);
    },
    made(path, photo) {
      const folder = folders.get(dirname(path));
      if (folder) add(folder, basename(path), basename(photo));
    },
  };
}

function add({ owners, companions }: Folder, name: string, owner: string): void {
  owners.set(name, owner);
  const others = companions.get(owner);
  if (others) others.add(name);
  else companions.set(owner, new Set([name]));
}
