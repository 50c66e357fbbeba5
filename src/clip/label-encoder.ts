import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { takeTurns } from '../turns.ts';
import type { TextEncoder, Tokenize } from './text-encoder.ts';

/**
 * One embedding for a label that is said in several ways: the mean, L2-normalised again, as in open_clip's
 * zero_shot_classifier. A single embedding is returned as it is, to the bit.
 * @param embeddings at least one, [D] float32 each, L2-normalised
 * @returns [D] float32, L2-normalised; zeros where the embeddings cancel out
 */
export function averageEmbedding(embeddings: readonly Float32Array[]): Float32Array {
  const [first] = embeddings;
  if (!first) throw new Error('no embeddings to average: this is a bug');
  if (embeddings.length === 1) return first;
  const sum = new Float64Array(first.length);
  for (const embedding of embeddings) {
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (embedding[i] as number);
  }
  // The division by the count is left out: normalising undoes it.
  const norm = Math.sqrt(sum.reduce((squares, value) => squares + value * value, 0));
  return Float32Array.from(sum, (value) => (norm === 0 ? 0 : value / norm));
}

/** Some 14,000 short labels with 2 KB of embedding each. */
const cacheBytes = 36 * 1024 ** 2;
/** The objects around a label and its embedding: what 100,000 of them were seen to take beside their bytes. */
const ENTRY_OVERHEAD_BYTES = 400;

/**
 * Labels are encoded in portions of so many texts: 4 MB of embeddings, and what a client that leaves has waited
 * for so far stays known.
 */
const textsPerPortion = 2048;

/** Labels, each said by the same templates, of which each has one `{}`. */
export interface LabelEncoder {
  /**
   * Looks at every text before any is encoded.
   * @throws ServiceError label_too_long; the signal's reason
   */
  check(labels: readonly string[], templates: readonly string[], signal?: AbortSignal): Promise<void>;
  /**
   * @param labels distinct; known ones are answered from a cache
   * @returns one embedding [D] float32, L2-normalised, a label: the average over the templates. Not to be
   *   written to
   * @throws ServiceError label_too_long; the signal's reason
   */
  encode(
    labels: readonly string[],
    templates: readonly string[],
    signal?: AbortSignal,
  ): Promise<readonly Float32Array[]>;
}

/** Puts labels into templates, has the texts encoded, and remembers what came of each label. */
export function createLabelEncoder(
  textEncoder: TextEncoder,
  tokenize: Tokenize,
  observer: EngineObserver = unobserved,
): LabelEncoder {
  const cache = new LRUCache<string, Float32Array>({ maxSize: cacheBytes, sizeCalculation: entryBytes });

  return {
    async check(labels, templates, signal) {
      const prefix = keyPrefix(templates);
      const turns = takeTurns(signal);
      for (const label of labels) {
        if (cache.has(prefix + label)) continue;
        for (const template of templates) {
          tokenize(fill(template, label));
          if (turns.isOver) await turns.next();
        }
      }
    },

    async encode(labels, templates, signal) {
      const prefix = keyPrefix(templates);
      const embeddings = new Map<string, Float32Array>();
      // What one call asks for never displaces what it asks for itself: asked again for more than the cache
      // holds, it finds as much as fits instead of nothing.
      let room = cacheBytes;
      for (const label of labels) {
        const embedding = cache.get(prefix + label);
        if (!embedding) continue;
        embeddings.set(label, embedding);
        room -= entryBytes(embedding, prefix + label);
      }
      const unknown = labels.filter((label) => !embeddings.has(label));
      observer.textsLookedUp(embeddings.size, unknown.length);

      const portion = Math.max(1, Math.floor(textsPerPortion / templates.length));
      for (let start = 0; start < unknown.length; start += portion) {
        const some = unknown.slice(start, start + portion);
        const texts = some.flatMap((label) => templates.map((template) => fill(template, label)));
        const encoded = await textEncoder.encode(texts, signal);
        for (const [index, label] of some.entries()) {
          const first = index * templates.length;
          const embedding = averageEmbedding(encoded.slice(first, first + templates.length));
          embeddings.set(label, embedding);
          room -= entryBytes(embedding, prefix + label);
          if (room >= 0) cache.set(prefix + label, embedding);
        }
      }
      return labels.map((label) => embeddings.get(label) as Float32Array);
    },
  };
}

/** Always as long as itself, so that no label can pass for another one in other templates. */
function keyPrefix(templates: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(templates)).digest('base64');
}

/** A character may take two bytes. */
function entryBytes(embedding: Float32Array, key: string): number {
  return embedding.byteLength + 2 * key.length + ENTRY_OVERHEAD_BYTES;
}

/** A function, not a string, as replacement: `$&` in a label is a label. */
function fill(template: string, label: string): string {
  return template.replace('{}', () => label);
}
