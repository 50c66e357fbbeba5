import { BOUNDARY, CONTENT_TYPE, categoriesPart, type FormPart, filePart, joinForm } from '../form.ts';
import type { Leniency } from '../judge.ts';
import type { Random } from '../random.ts';
import { mutate } from './mutate.ts';

/** A request as it goes over the wire. */
export interface HostileRequest {
  readonly kind: string;
  readonly path: string;
  /** Beside `Host`. */
  readonly headers: Readonly<Record<string, string | number>>;
  /** Written one after another, each in a packet of its own as far as that can be had. */
  readonly pieces: readonly Uint8Array[];
  /** The client has announced more than it sends: it says that it is done. */
  readonly halfClose?: boolean;
  readonly leniency?: Leniency;
}

const paths = ['/categorize', '/image', '/categorize?details=true', '/image?details=true&on_error=skip'];

/** Where HTTP itself is broken, the parser answers before anything of ours is asked, or nobody does. */
const lenient: Leniency = { closed: true, bare: true };

/** Makes one hostile request around a sound picture. */
export function hostileForm(picture: Uint8Array, random: Random): HostileRequest {
  const parts = [
    filePart('a.jpg', picture),
    filePart('b.jpg', picture),
    categoriesPart('red,green,blue', random.chance(0.5) ? 'categories.csv' : undefined),
  ];
  const kind = random.pick(Object.keys(kinds) as (keyof typeof kinds)[]);
  return { kind, path: random.pick(paths), ...kinds[kind](parts, random) };
}

type Made = Omit<HostileRequest, 'kind' | 'path'>;
type Make = (parts: readonly FormPart[], random: Random) => Made;

/** Put into bodies, where they mean most. */
const tokens = [
  '\r\n',
  '\n',
  '\r',
  '--',
  '"',
  '\0',
  ';',
  '%',
  '%zz',
  'é',
  '\\',
  `\r\n--${BOUNDARY}`,
  `\r\n--${BOUNDARY}--`,
  `--${BOUNDARY}\r\n\r\n`,
  `\r\n--${BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="c.jpg"\r\n\r\n`,
  `\r\n--${BOUNDARY}\r\nContent-Disposition: form-data; name="categories"\r\n\r\n`,
  `\r\n--${BOUNDARY}\r\nContent-Disposition: form-data; name="video"; filename="c.mp4"\r\n\r\n`,
  'Content-Type: multipart/mixed; boundary=inner\r\n',
  'Content-Transfer-Encoding: base64\r\n',
  "filename*=utf-8''%ff%fe; ",
  '\u2028',
  '\ufeff',
] as const;

const dispositions = [
  'form-data',
  'attachment; name="files"; filename="a.jpg"',
  'form-data; filename="a.jpg"',
  'form-data; name=files; filename=a.jpg',
  'form-data; name="files"; name="categories"; filename="a.jpg"',
  'form-data; name="files"; filename="a.jpg"; filename="b.jpg"',
  'form-data; name="files"; filename=""',
  'form-data; name=""; filename="a.jpg"',
  'form-data; name="files; filename="a.jpg',
  'form-data; name="files"; filename="\\"',
  'form-data; name="__proto__"; filename="constructor"',
  'form-data; name="files"; filename*=utf-16\'\'%00a',
  'form-data; name="files"; filename*=utf-8\'\'%E2%82',
  `form-data; name="files"; filename="${'n'.repeat(5000)}"`,
  `form-data; name="${'n'.repeat(5000)}"`,
  'form-data; name="files"; filename="../../../../etc/passwd"',
  'form-data; name="files"; filename="a\0.jpg"',
  'form-data;;;;;name="files"',
  `form-data${'; x=y'.repeat(2000)}; name="files"`,
  `form-data; name="files"; filename="${'\\'.repeat(3000)}`,
] as const;

const contentTypes = [
  '',
  'multipart/form-data',
  'multipart/form-data; boundary=',
  'multipart/form-data; boundary=""',
  `multipart/form-data; boundary="${BOUNDARY}`,
  `multipart/form-data; boundary=${'b'.repeat(71)}`,
  `multipart/form-data; boundary=${BOUNDARY}; boundary=other`,
  `multipart/form-data; charset=utf-16; boundary=${BOUNDARY}`,
  `MULTIPART/FORM-DATA; BOUNDARY=${BOUNDARY}`,
  `multipart/mixed; boundary=${BOUNDARY}`,
  'multipart/form-data; boundary=other',
  'multipart/form-data; boundary=-',
  'application/x-www-form-urlencoded',
  'application/json',
  'text/plain',
  'image/jpeg',
  `${'a'.repeat(8000)}/b`,
] as const;

const contentEncodings = ['gzip', 'deflate', 'br', 'zstd', 'x', 'identity', 'gzip, gzip'] as const;

const kinds = {
  'mutated bytes': (parts, random) => whole(mutate(joinForm(parts), random), random),
  'inserted tokens': (parts, random) => whole(insertTokens(joinForm(parts), random), random),
  'cut off': (parts, random) => {
    const body = joinForm(parts);
    return whole(body.subarray(0, random.below(body.length)), random);
  },
  'wrong disposition': (parts, random) => {
    const hostile = `Content-Disposition: ${random.pick(dispositions)}`;
    const at = random.below(parts.length);
    const changed = parts.map((part, index) => (index === at ? { ...part, head: [hostile] } : part));
    return whole(joinForm(changed), random);
  },
  'wrong headers of a part': (parts, random) => {
    const head = random.pick([
      [],
      ['no colon'],
      [': no name'],
      ['Content-Disposition'],
      [' Content-Disposition: form-data; name="files"'],
      Array.from({ length: 2000 }, (_, index) => `X-${index}: y`),
      [`X-Long: ${'y'.repeat(100_000)}`],
      ['Content-Disposition: form-data; name="files"; filename="a.jpg"', 'Content-Length: 99999999999'],
      ['Content-Disposition: form-data; name="files"; filename="a.jpg"', 'Content-Transfer-Encoding: base64'],
      ['Content-Disposition: form-data;\r\n name="files"; filename="folded.jpg"'],
      ['Content-Disposition: form-data; name="files"; filename="a.jpg"', 'Content-Type: \0'],
    ]);
    return whole(joinForm([...parts.slice(1), { head, content: Buffer.from('x') }]), random);
  },
  'wrong content type': (parts, random) => ({
    ...whole(joinForm(parts), random),
    headers: { 'Content-Type': random.pick(contentTypes), 'Content-Length': joinForm(parts).length },
  }),
  'wrong content encoding': (parts, random) => {
    const encoding = random.pick(contentEncodings);
    const plain = joinForm(parts);
    // A body that would inflate a thousandfold, and one that is not what its header says.
    const body = random.chance(0.5) ? plain : Buffer.from(Bun.gzipSync(new Uint8Array(2_000_000)));
    const made = whole(body, random);
    return { ...made, headers: { ...made.headers, 'Content-Encoding': encoding } };
  },
  'line feeds alone': (parts, random) =>
    whole(Buffer.from(joinForm(parts).toString('latin1').replaceAll('\r\n', '\n'), 'latin1'), random),
  'many tiny parts': (_, random) => {
    const one = random.pick([
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n\r\n`,
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n\r\n`,
      `--${BOUNDARY}\r\n\r\n\r\n`,
      `--${BOUNDARY}\r\n`,
    ]);
    return whole(Buffer.from(one.repeat(2000)), random);
  },
  'a form within the form': (parts, random) => {
    const depth = 1 + random.below(50);
    let inner = joinForm(parts, 'inner0');
    for (let level = 1; level < depth; level++) {
      const head = [
        'Content-Disposition: form-data; name="files"; filename="form"',
        `Content-Type: multipart/mixed; boundary=inner${level - 1}`,
      ];
      inner = joinForm([{ head, content: inner }], `inner${level}`);
    }
    return whole(joinForm([...parts, filePart('inner', inner)]), random);
  },
  'another encoding of the text': (parts, random) => {
    const text = joinForm(parts.slice(2)).toString('utf8');
    const body = random.pick([
      Buffer.from(text, 'utf16le'),
      Buffer.concat([Buffer.from('\ufeff'), Buffer.from(text)]),
      Buffer.from(Buffer.from(text).toString('base64')),
      Buffer.from(encodeURIComponent(text)),
    ]);
    return whole(body, random);
  },
  'too large a Content-Length': (parts, random) => {
    const body = joinForm(parts).subarray(0, 1 + random.below(joinForm(parts).length));
    return {
      ...whole(body, random),
      headers: {
        'Content-Type': CONTENT_TYPE,
        'Content-Length': random.pick([body.length + 1, body.length * 2, 2 ** 31, 2 ** 40, 2 ** 53]),
      },
      halfClose: true,
      leniency: lenient,
    };
  },
  'too small a Content-Length': (parts, random) => {
    const body = joinForm(parts);
    return {
      ...whole(body, random),
      headers: { 'Content-Type': CONTENT_TYPE, 'Content-Length': random.below(body.length) },
      // What is left over is taken for the next request, and the connection may be closed because of it.
      leniency: lenient,
    };
  },
  'an impossible Content-Length': (parts, random) => ({
    ...whole(joinForm(parts), random),
    headers: {
      'Content-Type': CONTENT_TYPE,
      'Content-Length': random.pick(['-1', 'x', '', '1e3', '0x10', '99999999999999999999999', '5, 5', '+5']),
    },
    halfClose: true,
    leniency: lenient,
  }),
  'no Content-Length': (parts) => ({
    headers: { 'Content-Type': CONTENT_TYPE },
    pieces: [joinForm(parts)],
    halfClose: true,
    leniency: lenient,
  }),
  'both ways to tell the length': (parts, random) => ({
    ...whole(joinForm(parts), random),
    headers: { 'Content-Type': CONTENT_TYPE, 'Content-Length': 10, 'Transfer-Encoding': 'chunked' },
    halfClose: true,
    leniency: lenient,
  }),
  chunked: (parts, random) => ({
    headers: { 'Content-Type': CONTENT_TYPE, 'Transfer-Encoding': 'chunked' },
    pieces: chunked(joinForm(parts), random),
  }),
  'damaged chunks': (parts, random) => ({
    headers: { 'Content-Type': CONTENT_TYPE, 'Transfer-Encoding': 'chunked' },
    pieces: [mutate(Buffer.concat(chunked(joinForm(parts), random)), random)],
    halfClose: true,
    leniency: lenient,
  }),
  'chunks of impossible lengths': (parts, random) => {
    const size = random.pick([
      'ffffffffffffffff',
      '-5',
      '',
      'g',
      '7fffffff',
      '5;ext="',
      '00000000000000005',
      '0x5',
    ]);
    const rest = Buffer.concat(chunked(joinForm(parts), random));
    return {
      headers: { 'Content-Type': CONTENT_TYPE, 'Transfer-Encoding': 'chunked' },
      pieces: [Buffer.from(`${size}\r\n`), rest],
      halfClose: true,
      leniency: lenient,
    };
  },
  'an unknown transfer coding': (parts, random) => ({
    ...whole(joinForm(parts), random),
    headers: {
      'Content-Type': CONTENT_TYPE,
      'Transfer-Encoding': random.pick(['gzip', 'identity', 'chunked, gzip', 'x', ' chunked', 'Chunked']),
    },
    halfClose: true,
    leniency: lenient,
  }),
} satisfies Readonly<Record<string, Make>>;

function whole(body: Uint8Array, random: Random): Made {
  return {
    headers: { 'Content-Type': CONTENT_TYPE, 'Content-Length': body.length },
    pieces: split(body, random),
  };
}

/** Few cuts at random places: the parser must not care where packets end. */
function split(body: Uint8Array, random: Random): readonly Uint8Array[] {
  const cuts = Array.from({ length: random.below(4) }, () => random.below(body.length + 1)).sort(
    (a, b) => a - b,
  );
  return [0, ...cuts].map((from, index) => body.subarray(from, cuts[index] ?? body.length));
}

function insertTokens(body: Buffer, random: Random): Buffer {
  let bytes = body;
  for (let left = 1 + random.below(5); left > 0; left--) {
    const at = random.below(bytes.length);
    const skipped = random.chance(0.3) ? random.below(60) : 0;
    const token = Buffer.from(random.pick(tokens));
    bytes = Buffer.concat([bytes.subarray(0, at), token, bytes.subarray(at + skipped)]);
  }
  return bytes;
}

function chunked(body: Uint8Array, random: Random): readonly Uint8Array[] {
  const pieces = split(body, random).filter((piece) => piece.length > 0);
  const chunks = pieces.map((piece) =>
    Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
  );
  return [...chunks, Buffer.from('0\r\n\r\n')];
}
