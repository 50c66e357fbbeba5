/** One embedding for a label that is said in several ways, put together as they come: only sums are kept. */
export interface EmbeddingAverage {
  /** @param embedding [D] float32, L2-normalised */
  add(embedding: Float32Array): void;
  /**
   * The mean of at least one, L2-normalised again, as in open_clip's zero_shot_classifier. A single embedding
   * is returned as it is, to the bit.
   * @returns [D] float32, L2-normalised; zeros where the embeddings cancel out
   */
  result(): Float32Array;
}

export function createEmbeddingAverage(): EmbeddingAverage {
  let first: Float32Array | undefined;
  let sum: Float64Array | undefined;
  return {
    add(embedding) {
      if (!first) {
        first = embedding;
        return;
      }
      sum ??= Float64Array.from(first);
      for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (embedding[i] as number);
    },
    result() {
      if (!first) throw new Error('This is a bug: no embeddings to average');
      if (!sum) return first;
      // The division by the count is left out: normalising undoes it.
      const norm = Math.hypot(...sum);
      return Float32Array.from(sum, (value) => (norm === 0 ? 0 : value / norm));
    },
  };
}
