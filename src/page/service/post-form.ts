import { parseBody, type Received } from '../../contract/client.ts';
import type { Sending } from './requests.ts';

/**
 * Posts a form. XMLHttpRequest, because fetch does not say how much of a body was sent.
 * @throws the signal's reason
 */
export function postForm({ path, form, headers, signal, onSent, onText }: Sending): Promise<Received> {
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
