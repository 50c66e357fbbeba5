/** A form, piece by piece, so that mutations can take it apart. */
export const BOUNDARY = 'robust-7d1f';
export const CONTENT_TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

export interface FormPart {
  /** Header lines without their line ends. */
  readonly head: readonly string[];
  readonly content: Uint8Array;
}

export function filePart(name: string, content: Uint8Array, field = 'files'): FormPart {
  return { head: [`Content-Disposition: form-data; name="${field}"; filename="${name}"`], content };
}

export function categoriesPart(content: string | Uint8Array, fileName?: string): FormPart {
  const suffix = fileName === undefined ? '' : `; filename="${fileName}"`;
  return {
    head: [`Content-Disposition: form-data; name="categories"${suffix}`],
    content: typeof content === 'string' ? Buffer.from(content) : content,
  };
}

export function joinForm(parts: readonly FormPart[], boundary = BOUNDARY): Buffer {
  const pieces = parts.flatMap(({ head, content }) => [
    Buffer.from(`--${boundary}\r\n${head.map((line) => `${line}\r\n`).join('')}\r\n`),
    content,
    Buffer.from('\r\n'),
  ]);
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)]);
}
