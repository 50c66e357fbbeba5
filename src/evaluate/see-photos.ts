import type { Embedder, EmbeddingOutcome } from '../cli/answers/embedder.ts';
import { CHUNK_FILES, CHUNKS_AT_ONCE } from '../cli/answers/embedding-answers.ts';
import { chunksOf, inOrder } from '../cli/answers/in-order.ts';
import type { FoundFile } from '../cli/files/find-files.ts';
import { readPicture } from '../cli/files/read-picture.ts';

/** A file that is left out, and the reason. */
export type Unseen = Extract<EmbeddingOutcome, { readonly kind: 'broken' | 'skipped' }>;

export type Sight =
  | { readonly kind: 'seen'; readonly embedding: Float32Array; readonly warning: string | undefined }
  | Unseen;

/** Has the model look at each file once. @yields in the order of the files */
export async function* seePhotos(
  embedder: Embedder,
  files: readonly FoundFile[],
  maxImageBytes: number,
): AsyncGenerator<Sight> {
  const chunks = inOrder(chunksOf(files, CHUNK_FILES), CHUNKS_AT_ONCE, (chunk) =>
    embedder.embed(chunk, (file) => readPicture(file, maxImageBytes)),
  );
  for await (const outcomes of chunks) {
    for (const outcome of outcomes) {
      if (outcome.kind === 'broken' || outcome.kind === 'skipped') yield outcome;
      else {
        const warning = outcome.kind === 'embedded' ? outcome.warning : undefined;
        yield { kind: 'seen', embedding: outcome.embedding, warning };
      }
    }
  }
}
