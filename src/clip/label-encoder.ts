import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { averageEmbedding } from '../classify/decide.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { takeTurns } from '../turns.ts';
import type { TextTower } from './text-encoder.ts';

/** About 14,000 short labels with 2 KB of embedding each. */
const CACHE_BYTES = 36 * 1024 ** 2;
/** Objects around a label and its embedding, measured with 100,000 of them. */
const ENTRY_OVERHEAD_BYTES = 400;

/**
 * Labels are encoded in portions of this many texts, 4 MB of embeddings. After each portion its labels are cached,
 * so that a client that leaves and comes back does not wait for them again.
 */
const TEXTS_PER_PORTION = 2048;

/** Encodes labels in templates, each of which has one `{}`. */
export interface LabelEncoder {
  /**
   * Checks every text before any is encoded.
   * @throws ServiceError label_too_long; the signal's reason
   */
  check(labels: readonly string[], templates: readonly string[], signal?: AbortSignal): Promise<void>;
  /** @returns how many tokens the texts have together, start and end included. @throws as `check` */
  countTokens(labels: readonly string[], templates: readonly string[], signal?: AbortSignal): Promise<number>;
  /**
   * @param labels distinct; cached ones are not encoded again
   * @returns one embedding [D] float32, L2-normalised, per label: the average over the templates. The caller must
   *   not write to it
   * @throws ServiceError label_too_long; the signal's reason
   */
  encode(
    labels: readonly string[],
    templates: readonly string[],
    signal?: AbortSignal,
  ): Promise<readonly Float32Array[]>;
}

/** Puts labels into templates, encodes the texts, and caches the embedding of each label. */
export function createLabelEncoder(
  textTower: TextTower,
  observer: EngineObserver = unobserved,
): LabelEncoder {
  const cache = new LRUCache<string, Float32Array>({ maxSize: CACHE_BYTES, sizeCalculation: entryBytes });

  return {
    async check(labels, templates, signal) {
      const prefix = keyPrefix(templates);
      const turns = takeTurns(signal);
      for (const label of labels) {
        if (cache.has(prefix + label)) continue;
        for (const template of templates) {
          textTower.check(fill(template, label));
          if (turns.isOver) await turns.next();
        }
      }
    },

    async countTokens(labels, templates, signal) {
      const turns = takeTurns(signal);
      let count = 0;
      for (const label of labels) {
        for (const template of templates) {
          count += textTower.check(fill(template, label));
          if (turns.isOver) await turns.next();
        }
      }
      return count;
    },

    async encode(labels, templates, signal) {
      const prefix = keyPrefix(templates);
      const embeddings = new Map<string, Float32Array>();
      // A call does not displace its own labels from the cache. A second call with more labels than the cache
      // holds then finds those that fit, not none.
      let room = CACHE_BYTES;
      for (const label of labels) {
        const embedding = cache.get(prefix + label);
        if (!embedding) continue;
        embeddings.set(label, embedding);
        room -= entryBytes(embedding, prefix + label);
      }
      const unknown = labels.filter((label) => !embeddings.has(label));
      observer.textsLookedUp(embeddings.size, unknown.length);

      const portion = Math.max(1, Math.floor(TEXTS_PER_PORTION / templates.length));
      for (let start = 0; start < unknown.length; start += portion) {
        const some = unknown.slice(start, start + portion);
        const texts = some.flatMap((label) => templates.map((template) => fill(template, label)));
        const encoded = await textTower.encode(texts, signal);
        for (const [index, label] of some.entries()) {
          const first = index * templates.length;
          const embedding = averageEmbedding(encoded.slice(first, first + templates.length));
          embeddings.set(label, embedding);
          room -= entryBytes(embedding, prefix + label);
          if (room >= 0) cache.set(prefix + label, embedding);
        }
      }
      return labels.map((label) => embeddings.get(label)!);
    },
  };
}

/** All prefixes have one length, so that two pairs of templates and label never share a key. */
function keyPrefix(templates: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(templates)).digest('base64');
}

/** In bytes. A character may take two. */
function entryBytes(embedding: Float32Array, key: string): number {
  return embedding.byteLength + 2 * key.length + ENTRY_OVERHEAD_BYTES;
}

/** The replacement is a function, because `$&` in a string would have a meaning. */
function fill(template: string, label: string): string {
  return template.replace('{}', () => label);
}
