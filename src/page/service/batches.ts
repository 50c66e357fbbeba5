/**
 * So many photos a request: few enough that answers come while the rest is still on its way and that a broken
 * request loses little, enough to fill the model's batches.
 */
const MAX_FILES = 32;
/** Twelve photos of a phone: some seconds over a slow line. */
const MAX_BYTES = 64 * 1024 ** 2;

/** Cuts a list of photos into requests, in order; a photo that is too large alone goes alone. */
export function batchesOf<Item extends { readonly bytes: number }>(items: readonly Item[]): Item[][] {
  const batches: Item[][] = [];
  let sum = 0;
  for (const item of items) {
    const last = batches.at(-1);
    if (last && last.length < MAX_FILES && sum + item.bytes <= MAX_BYTES) {
      last.push(item);
      sum += item.bytes;
    } else {
      batches.push([item]);
      sum = item.bytes;
    }
  }
  return batches;
}
