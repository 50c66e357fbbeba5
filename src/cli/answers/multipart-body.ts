/** One part of a form, sent while it is read. */
export interface FormPart {
  readonly name: string;
  /** Undefined: a plain field. Letters, digits, dots and dashes only: nothing is escaped. */
  readonly filename?: string;
  readonly content: Uint8Array | AsyncIterable<Uint8Array>;
}

export interface MultipartBody {
  readonly contentType: string;
  /** To be read once. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * A multipart/form-data body that is never whole in memory: each part is asked for when the one before
 * it has been sent. (FormData would read all files first.)
 */
export function multipartBody(parts: AsyncIterable<FormPart>): MultipartBody {
  const boundary = `classify-${crypto.randomUUID()}`;
  const encoder = new TextEncoder();
  async function* chunks() {
    for await (const { name, filename, content } of parts) {
      const file = filename === undefined ? '' : `; filename="${filename}"`;
      yield encoder.encode(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`);
      if (content instanceof Uint8Array) yield content;
      else yield* content;
      yield encoder.encode('\r\n');
    }
    yield encoder.encode(`--${boundary}--\r\n`);
  }
  return { contentType: `multipart/form-data; boundary=${boundary}`, chunks: chunks() };
}
