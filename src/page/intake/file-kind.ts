/** What a file that was dropped or chosen is taken for; the service has the last word, by its content. */
export type FileKind = 'photo' | 'video' | 'categories' | 'other';

const photoEndings = /\.(?:jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|heic|heif)$/i;
const videoEndings = /\.(?:mp4|m4v|mov|webm|mkv)$/i;
const categoriesEndings = /\.(?:json|csv|tsv|txt)$/i;

/** By ending first: what systems say of a type differs, and is often nothing. */
export function fileKind({ name, type }: { readonly name: string; readonly type: string }): FileKind {
  if (photoEndings.test(name)) return 'photo';
  if (videoEndings.test(name)) return 'video';
  if (categoriesEndings.test(name)) return 'categories';
  if (type.startsWith('image/')) return 'photo';
  if (type.startsWith('video/')) return 'video';
  return 'other';
}
