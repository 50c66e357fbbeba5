import { parseBody, type Received } from '../../contract/client.ts';
import { createEventReader } from '../../contract/event-stream.ts';
import type { VideoProgress } from '../../contract/schemas.ts';
import type { Photo, Question } from '../results/photo.ts';

interface SendingEvents {
  readonly signal: AbortSignal;
  /** Called with the bytes of the body that were sent so far. */
  readonly onSent: (bytes: number) => void;
}

/** A question about a video. */
export interface VideoQuestion extends Question {
  /** The option `thorough`. */
  readonly thorough: boolean;
}

/** The requests of the page, with the key if there is one. */
export interface Requests {
  /** The key is kept in memory only. */
  setKey(key: string): void;
  readonly hasKey: boolean;
  sendPhotos(photos: readonly Photo[], question: Question, events: SendingEvents): Promise<Received>;
  sendVideo(
    video: File,
    question: VideoQuestion,
    events: SendingEvents & { readonly onProgress: (progress: VideoProgress) => void },
  ): Promise<Received>;
}

/** The limit of the option `top_k`. Only an operator can allow more categories than that. */
const MAX_TOP_K = 1000;
/** Behind transparent photos, for the model and on the page. The style sheet has it, too. */
export const PAGE_BACKGROUND = 'white';
/** Each category comes with a picture of some 300 KB. With more categories than this, only times are asked for. */
const MAX_PICTURES = 100;

/** How many moments of each category the page asks for. It lists fewer frames. */
export function maximumMoments(categories: number): number {
  return categories <= MAX_PICTURES ? 100 : 10;
}

export function createRequests(): Requests {
  let apiKey: string | undefined;
  const headers = (accept: string) => ({ accept, ...(apiKey !== undefined && { 'x-api-key': apiKey }) });
  return {
    setKey(key) {
      apiKey = key;
    },
    get hasKey() {
      return apiKey !== undefined;
    },
    sendPhotos(photos, question, events) {
      const form = new FormData();
      // First, so that a fault in them is found before the photos are sent.
      form.append('categories', JSON.stringify({ categories: question.labels }));
      for (const [place, { file }] of photos.entries()) form.append('files', file, String(place));
      const topK = Math.min(question.labels.length, MAX_TOP_K);
      const path = `categorize?${query(question, {
        details: 'true',
        top_k: String(topK),
        background: PAGE_BACKGROUND,
        thumbnails: 'true',
      })}`;
      return send({ ...events, path, form, headers: headers('application/json') });
    },
    async sendVideo(video, question, { onProgress, ...events }) {
      const form = new FormData();
      form.append('categories', JSON.stringify({ categories: question.labels }));
      form.append('video', video, 'video');
      const categories = question.labels.length;
      const path = `video?${query(question, {
        details: 'true',
        moments: 'true',
        thorough: String(question.thorough),
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

function query({ template }: Question, options: Readonly<Record<string, string>>): URLSearchParams {
  return new URLSearchParams({ ...options, ...(template && { template }) });
}

interface Sending extends SendingEvents {
  readonly path: string;
  readonly form: FormData;
  readonly headers: Readonly<Record<string, string>>;
  /** Called with each further piece of a success's answer. */
  readonly onText?: (piece: string) => void;
}

/**
 * Posts a form. XMLHttpRequest, because fetch does not say how much of a body was sent.
 * @throws the signal's reason
 */
function send({ path, form, headers, signal, onSent, onText }: Sending): Promise<Received> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => {
      request.abort();
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    request.upload.onprogress = ({ loaded }) => onSent(loaded);
    let read = 0;
    const readOn = () => {
      if (!onText || request.status !== 200) return;
      const text = request.responseText;
      onText(text.slice(read));
      read = text.length;
    };
    request.onprogress = readOn;
    request.onloadend = () => {
      signal.removeEventListener('abort', abort);
      readOn();
      const retryAfter = Number.parseFloat(request.getResponseHeader('retry-after') ?? '');
      resolve({
        status: request.status,
        body: onText && request.status === 200 ? undefined : parseBody(request.responseText),
        retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : undefined,
      });
    };
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(form);
  });
}
