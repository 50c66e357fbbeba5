import type { Received } from './refusal.ts';

/** One request, as it goes out. */
export interface Sending {
  readonly path: string;
  readonly form: FormData;
  readonly accept: string;
  readonly apiKey: string | undefined;
  readonly signal: AbortSignal;
  /** Told how much of the body has left so far, in bytes. */
  readonly onSent: (bytes: number) => void;
  /** Told all that has come back so far. */
  readonly onText?: (text: string) => void;
}

/**
 * Posts a form. XMLHttpRequest, because fetch does not tell how much of a body has left.
 * @throws the signal's reason
 */
export function send({ path, form, accept, apiKey, signal, onSent, onText }: Sending): Promise<Received> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => {
      request.abort();
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    request.upload.onprogress = ({ loaded }) => onSent(loaded);
    if (onText) request.onprogress = () => onText(request.responseText);
    request.onloadend = () => {
      signal.removeEventListener('abort', abort);
      const retryAfter = Number.parseFloat(request.getResponseHeader('retry-after') ?? '');
      resolve({
        status: request.status,
        text: request.responseText,
        retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : undefined,
      });
    };
    request.open('POST', path);
    request.setRequestHeader('accept', accept);
    if (apiKey !== undefined) request.setRequestHeader('x-api-key', apiKey);
    request.send(form);
  });
}
