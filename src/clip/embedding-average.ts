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
