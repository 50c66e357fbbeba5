import type { Photo, Question } from '../results/photo.ts';
import { MAX_TOP_K } from './photo-answers.ts';
import type { Received } from './refusal.ts';
import { type Sending, send } from './send.ts';

/** The requests the page sends, with the key, where one is needed. */
export interface Requests {
  /** Kept in memory alone. */
  setKey(key: string): void;
  readonly hasKey: boolean;
  sendPhotos(
    photos: readonly Photo[],
    question: Question,
    signal: AbortSignal,
    onSent: (bytes: number) => void,
  ): Promise<Received>;
  sendVideo(
    video: File,
    question: Question,
    events: Pick<Sending, 'signal' | 'onSent' | 'onText'>,
  ): Promise<Received>;
}

/** As many frames of each category as the page ever lists. */
const VIDEO_TOP_K = 10;
/** Each category comes with a picture of some 300 KB; more of them than this come as times alone. */
const MAX_PICTURES = 100;

export function createRequests(): Requests {
  let apiKey: string | undefined;
  return {
    setKey(key) {
      apiKey = key;
    },
    get hasKey() {
      return apiKey !== undefined;
    },
    sendPhotos(photos, question, signal, onSent) {
      const form = new FormData();
      // First, so that a fault in them is told before any photo has been sent for nothing.
      form.append('categories', JSON.stringify({ categories: question.labels }));
      for (const [place, { file }] of photos.entries()) form.append('files', file, String(place));
      const topK = Math.min(question.labels.length, MAX_TOP_K);
      const path = `categorize?${query(question, { details: 'true', top_k: String(topK) })}`;
      return send({ path, form, accept: 'application/json', apiKey, signal, onSent });
    },
    sendVideo(video, question, events) {
      const form = new FormData();
      form.append('categories', JSON.stringify({ categories: question.labels }));
      form.append('video', video, 'video');
      const path = `video?${query(question, {
        details: 'true',
        top_k: String(VIDEO_TOP_K),
        images: String(question.labels.length <= MAX_PICTURES),
      })}`;
      return send({ path, form, accept: 'application/x-ndjson', apiKey, ...events });
    },
  };
}

function query({ template }: Question, options: Readonly<Record<string, string>>): URLSearchParams {
  return new URLSearchParams({ ...options, ...(template && { template }) });
}
