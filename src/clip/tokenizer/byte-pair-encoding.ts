import { endOfWord, type Vocabulary } from './vocabulary.ts';

/** Behind a rank in a queue's key comes a position: words are shorter than this. */
const POSITIONS = 2 ** 20;

/**
 * Encodes one word as the reference's `bpe` does: of all neighbours the pair with the lowest rank is merged
 * wherever it stands, from left to right, until no pair is in the vocabulary.
 *
 * The reference looks through the whole word for every merge. Here a queue has the pairs, by rank and then by
 * position: the same order, because a pair that a merge brings about always ranks behind that merge. Time grows with
 * n · log n.
 * @returns token ids; none for an empty word
 */
export function encodeWord(word: string, { byteIds, merge }: Vocabulary): number[] {
  const ids = Array.from(Buffer.from(word), (byte) => byteIds[byte] as number);
  if (ids.length === 0) return ids;
  ids.push((ids.pop() as number) + endOfWord);

  // Neighbours by position; a position whose token went into the one on its left has an id of −1.
  const next = Int32Array.from(ids, (_, at) => at + 1);
  const previous = Int32Array.from(ids, (_, at) => at - 1);
  const queue: number[] = [];
  const enqueue = (left: number) => {
    const right = next[left] as number;
    if (left < 0 || right >= ids.length) return;
    const merged = merge(ids[left] as number, ids[right] as number);
    if (merged !== undefined) push(queue, merged * POSITIONS + left);
  };
  for (let at = 0; at + 1 < ids.length; at++) enqueue(at);

  for (let key = pop(queue); key !== undefined; key = pop(queue)) {
    const left = key % POSITIONS;
    const merged = Math.floor(key / POSITIONS);
    const right = next[left] as number;
    // One of the two has become another token since.
    if (ids[left] === -1 || right >= ids.length) continue;
    if (merge(ids[left] as number, ids[right] as number) !== merged) continue;
    ids[left] = merged;
    ids[right] = -1;
    const behind = next[right] as number;
    next[left] = behind;
    if (behind < ids.length) previous[behind] = left;
    enqueue(left);
    enqueue(previous[left] as number);
  }
  return ids.filter((id) => id !== -1);
}

/** A binary heap: the smallest number is the first, and no number is larger than the two at twice its place. */
function push(heap: number[], value: number): void {
  let at = heap.length;
  for (let parent = (at - 1) >> 1; at > 0 && (heap[parent] as number) > value; parent = (at - 1) >> 1) {
    heap[at] = heap[parent] as number;
    at = parent;
  }
  heap[at] = value;
}

function pop(heap: number[]): number | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (heap.length === 0 || last === undefined) return first;
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    const other = heap[child + 1];
    if (other !== undefined && other < (heap[child] as number)) child += 1;
    if ((heap[child] as number) >= last) break;
    heap[at] = heap[child] as number;
    at = child;
  }
  heap[at] = last;
  return first;
}
