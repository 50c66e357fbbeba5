import * as v from 'valibot';
import { videoDetailsSchema, videoProgressSchema } from '../../http/schemas.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import { categoriesOf, type Question, type VideoAnswer, type VideoRequest } from './answers.ts';
import type { FormPart } from './multipart-body.ts';
import { categoriesPart, expectShape, queryOf } from './question-form.ts';
import type { PostForm } from './server-client.ts';

/** Has a server look for the best frames of a video. The video is read while it is sent. */
export async function searchVideoOnServer(
  post: PostForm,
  question: Question,
  { path, onProgress, takeJpeg }: VideoRequest,
): Promise<VideoAnswer & { readonly model: AnsweringModel }> {
  async function* parts(): AsyncGenerator<FormPart> {
    yield categoriesPart(question);
    yield { name: 'video', filename: 'video', content: Bun.file(path).stream() };
  }
  const query = queryOf(question);
  query.set('images', String(takeJpeg !== undefined));
  const answer = await post({
    path: 'video',
    query,
    parts,
    onProgress(data) {
      const progress = v.safeParse(videoProgressSchema, data);
      if (!progress.success || progress.output.stage !== 'searching') return;
      onProgress(progress.output.seconds_done ?? 0, progress.output.seconds_total);
    },
  });
  const { model, results, warnings } = expectShape(videoDetailsSchema, answer);
  const frames = results.map(({ category, timestamp, score, similarity, scores }) => ({
    category,
    timestamp,
    score,
    similarity,
    scores,
  }));
  const images = new Map(results.map(({ timestamp, image }) => [timestamp, image]));
  for (const [timestamp, image] of images) {
    if (timestamp === null || !image) continue;
    await takeJpeg?.(timestamp, categoriesOf(frames, timestamp), Buffer.from(image, 'base64'));
  }
  return { model, frames, warnings };
}
