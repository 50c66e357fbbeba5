import { parseCategories } from '../../../src/classify/categories.ts';
import { parseOptions, parseVideoOptions } from '../../../src/contract/options.ts';
import { ServiceError } from '../../../src/errors.ts';
import { readForm } from '../../../src/http/form.ts';
import { boundaryOf, parseContentDisposition, readParts } from '../../../src/http/multipart.ts';
import { concat } from '../../media/sample-pictures.ts';
import { check, type Target } from '../target.ts';

const MAXIMUM_HEAD_BYTES = 16 * 1024;
const MAXIMUM_CHUNKS = 2000;
/** The first byte of an input says how the rest is read. */
const modes = { form: 'f', disposition: 'd', query: 'q' } as const;

const form = (type: string, chunk: number, body: string) =>
  concat(modes.form, [chunk], `${type}\n`, body.replaceAll('\n', '\r\n'));

/** Readers of a request's form: its type, its parts, their names, and the query's options. */
export const forms: Target = {
  name: 'forms',
  maxBytes: 4096,

  async seeds() {
    const part = 'Content-Disposition: form-data; name=';
    return [
      form(
        'multipart/form-data; boundary=AaB',
        7,
        `--AaB\n${part}"files"; filename="a.jpg"\nContent-Type: image/jpeg\n\n\xff\xd8xyz\n--AaB\n${part}"categories"\n\na,b\n--AaB--\n`,
      ),
      form(
        'multipart/form-data; charset=utf-8; boundary="a b"',
        1,
        `preamble\n--a b\n${part}files; filename*=utf-8''%e2%82%ac.png\nContent-Transfer-Encoding: binary\n\n--a c\n--a b--epilogue`,
      ),
      form(
        'multipart/form-data;boundary=--x',
        3,
        `----x\n${part}"files[]"; filename=""\n\n\n----x\n${part}"categories"\ncontent-type: text/plain; charset=iso-8859-1\n\ncaf\xe9\n----x--\n`,
      ),
      form('application/x-www-form-urlencoded', 9, 'files=a'),
      concat(modes.disposition, 'form-data; name="files"; filename="a \\"b\\" \\\\ %22.jpg"'),
      concat(modes.disposition, "form-data; filename*=iso-8859-1'en'%e9.jpg; name=x"),
      concat(modes.query, 'details=true&top_k=3&template=a+photo+of+a+%7B%7D&template=%7B%7D'),
      concat(modes.query, 'threshold=.5e-1&on_error=skip&images=false&x=1&top_k=a&top_k=b'),
    ];
  },

  async run(bytes) {
    const rest = bytes.subarray(1);
    switch (String.fromCharCode(bytes[0] ?? 0)) {
      case modes.disposition: {
        // As long as a part's headers may be.
        const line = Buffer.from(rest.subarray(0, MAXIMUM_HEAD_BYTES)).toString('latin1');
        const disposition = parseContentDisposition(line);
        const text = 'fault' in disposition ? disposition.fault : disposition.name;
        check(!text.includes('\ufffd'), 'a replacement character');
        if ('fault' in disposition) check(text.length < 2000, 'a very long sentence');
        return;
      }
      case modes.query: {
        const query = new URLSearchParams(Buffer.from(rest).toString('latin1'));
        for (const parse of [parseOptions, parseVideoOptions]) {
          const options = refusal(() => parse(query));
          if (options instanceof ServiceError) check(options.message.length < 20_000, 'a very long sentence');
          else check(options.top_k >= 1 && options.top_k <= 1000, `top_k is ${options.top_k}`);
        }
        return;
      }
      default:
        await readBody(rest);
    }
  },
};

async function readBody(bytes: Uint8Array): Promise<void> {
  const end = bytes.indexOf(0x0a, 1);
  if (end === -1) return;
  const type = Buffer.from(bytes.subarray(1, end)).toString('latin1');
  // Other bytes do not get through a server's own reading of headers.
  if (!/^[\t -~\x80-\xff]*$/.test(type)) return;
  const boundary = refusal(() => boundaryOf(new Headers({ 'content-type': type })));
  if (boundary instanceof ServiceError) return;
  const body = bytes.subarray(end + 1);
  const whole = await outcomeOf(readAll(body, body.length, boundary));
  const chunkBytes = Math.max(1 + (bytes[0] ?? 0), Math.ceil(body.length / MAXIMUM_CHUNKS));
  const pieces = await outcomeOf(readAll(body, chunkBytes, boundary));
  check(whole === pieces, `a form in one piece gives ${whole}, in several ${pieces}`);
}

/** What the service makes of a form, as text. */
async function readAll(body: Uint8Array, chunkBytes: number, boundary: string): Promise<string> {
  const chunks = async function* () {
    for (let at = 0; at < body.length; at += chunkBytes) yield body.slice(at, at + chunkBytes);
  };
  const found: string[] = [];
  const lease = { take: () => undefined, give: () => undefined };
  await readForm(readParts(chunks(), boundary), lease, {
    field: 'files',
    async receive(name, content) {
      let length = 0;
      for await (const chunk of content) length += chunk.byteLength;
      found.push(`${JSON.stringify(name)} ${length}`);
      return true;
    },
    parseCategories: (document) => parseCategories(document, 1000),
    async checkCategories({ labels }) {
      found.push(`categories ${JSON.stringify(labels)}`);
    },
  });
  return found.join('; ');
}

/** What was found, or the code of the fault: the same however the body was cut. */
async function outcomeOf(reading: Promise<string>): Promise<string> {
  try {
    return await reading;
  } catch (fault) {
    if (!(fault instanceof ServiceError)) throw fault;
    check(fault.message.length < 20_000, 'a very long sentence');
    return fault.code;
  }
}

function refusal<T>(read: () => T): T | ServiceError {
  try {
    return read();
  } catch (fault) {
    if (fault instanceof ServiceError) return fault;
    throw fault;
  }
}
