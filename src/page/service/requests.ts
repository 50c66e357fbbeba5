import type { Received } from '../../contract/client.ts';
import { createEventReader } from '../../contract/event-stream.ts';
import type { Fit } from '../../contract/options.ts';
import type { VideoProgress } from '../../contract/schemas.ts';
import type { Category, Photo, Question } from '../results/photo.ts';

export interface SendingEvents {
  readonly signal: AbortSignal;
  /** Called with the bytes of the body that were sent so far. */
  readonly onSent: (bytes: number) => void;
}

/** The options of /video that a person can set. */
export interface VideoOptions {
  /** Whether to look at all of a long video. */
  readonly thorough: boolean;
  /** Whether a category may have no frame, because nothing in the video fits it. */
  readonly others: boolean;
  readonly fit: Fit;
}

/** The requests of the page, with the key if there is one. */
export interface Requests {
  /** The key is kept in memory only. */
  setKey(key: string): void;
  readonly hasKey: boolean;
  /** Asks for the embeddings of photos, named by their place in the list: `0`, `1`, … */
  sendPhotos(photos: readonly Photo[], fit: Fit, events: SendingEvents): Promise<Received>;
  /** Asks for the embeddings of texts. */
  sendTexts(texts: readonly string[], template: string, signal: AbortSignal): Promise<Received>;
  sendVideo(
    video: File,
    question: Question & VideoOptions,
    events: SendingEvents & { readonly onProgress: (progress: VideoProgress) => void },
  ): Promise<Received>;
}

/** Behind transparent photos, for the model and on the page. The style sheet has it, too. */
export const PAGE_BACKGROUND = 'white';
/** Each category comes with a picture of some 300 KB. With more categories than this, only times are asked for. */
const MAX_PICTURES = 100;

/** How many moments of each category the page asks for. It lists fewer frames. */
export function maximumMoments(categories: number): number {
  return categories <= MAX_PICTURES ? 100 : 10;
}

/** A request as it goes over the network. */
export interface Sending extends SendingEvents {
  readonly path: string;
  readonly form: FormData;
  readonly headers: Readonly<Record<string, string>>;
  /** Called with each further piece of a success's answer. */
  readonly onText?: (piece: string) => void;
}

/** @param send posts a form. @throws the signal's reason */
export function createRequests(send: (sending: Sending) => Promise<Received>): Requests {
  let apiKey: string | undefined;
  const headers = (accept: string) => ({ accept, ...(apiKey !== undefined && { 'x-api-key': apiKey }) });
  return {
    setKey(key) {
      apiKey = key;
    },
    get hasKey() {
      return apiKey !== undefined;
    },
    sendPhotos(photos, fit, events) {
      const form = new FormData();
      for (const [place, { file }] of photos.entries()) form.append('files', file, String(place));
      const path = `embeddings?${new URLSearchParams({
        encoding_format: 'base64',
        on_error: 'skip',
        background: PAGE_BACKGROUND,
        thumbnails: 'true',
        ...(fit !== 'crop' && { fit }),
      })}`;
      return send({ ...events, path, form, headers: headers('application/json') });
    },
    sendTexts(texts, template, signal) {
      const form = new FormData();
      form.append('texts', JSON.stringify(texts));
      const path = `embeddings?${query(template, { encoding_format: 'base64' })}`;
      return send({ path, form, headers: headers('application/json'), signal, onSent: () => undefined });
    },
    async sendVideo(video, question, { onProgress, ...events }) {
      const form = new FormData();
      form.append('categories', categoriesText(question.categories));
      form.append('video', video, 'video');
      const categories = question.categories.length;
      const path = `video?${query(question.template, {
        details: 'true',
        moments: 'true',
        thorough: String(question.thorough),
        ...(question.others && { others: 'true' }),
        ...(question.fit !== 'crop' && { fit: question.fit }),
        top_k: String(maximumMoments(categories)),
        images: String(categories <= MAX_PICTURES),
      })}`;
      const reader = createEventReader((progress) => onProgress(progress as VideoProgress));
      const onText = (piece: string) => void reader.read(piece);
      const received = await send({
        ...events,
        path,
        form,
        headers: headers('application/x-ndjson'),
        onText,
      });
      return received.status === 200 ? reader.end() : received;
    },
  };
}

/** A list of names; with phrases if they differ from the names. */
function categoriesText(categories: readonly Category[]): string {
  if (categories.every(({ name, phrases }) => phrases.length === 1 && phrases[0] === name)) {
    return JSON.stringify(categories.map(({ name }) => name));
  }
  // A JavaScript object would move names such as "10" to the front.
  const members = categories.map(({ name, phrases }) => `${JSON.stringify(name)}:${JSON.stringify(phrases)}`);
  return `{"categories":{${members.join(',')}}}`;
}

function query(template: string, options: Readonly<Record<string, string>>): URLSearchParams {
  return new URLSearchParams({ ...options, ...(template && { template }) });
}
