import { form, postRaw, type StartOptions, start } from './harness.ts';

/** Posts a form to a new server. */
export async function post(path: string, body: FormData | Uint8Array, options: StartOptions = {}) {
  await using server = start(options);
  const response =
    body instanceof FormData
      ? await fetch(server.address(path), { method: 'POST', body })
      : await postRaw(server, path, body);
  return {
    status: response.status,
    headers: response.headers,
    text: await response.text(),
    lines: server.lines,
  };
}

export const twoPictures = form(
  [
    ['a.jpg', 'cat'],
    ['b.jpg', 'dog'],
  ],
  'dog,cat,bird',
);
