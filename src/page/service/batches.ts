/**
 * So many photos a request: few enough that answers come while the rest is still on its way and that a broken
 * request loses little, enough to fill the model's batches.
 */
const MAX_FILES = 32;
/** Twelve photos of a phone: some seconds over a slow line. */
const MAX_BYTES = 64 * 1024 ** 2;

/** Cuts a list of photos into requests, in order; a photo that is too large alone goes alone. */
export function batchesOf<Item extends { readonly file: { readonly size: number } }>(
  items: readonly Item[],
): Item[][] {
  const batches: Item[][] = [];
  let bytes = 0;
  for (const item of items) {
    const last = batches.at(-1);
    if (last && last.length < MAX_FILES && bytes + item.file.size <= MAX_BYTES) {
      last.push(item);
      bytes += item.file.size;
    } else {
      batches.push([item]);
      bytes = item.file.size;
    }
  }
  return batches;
}
