import { requestHead } from '../exchange.ts';
import { CONTENT_TYPE } from '../form.ts';
import type { Random } from '../random.ts';
import { mutate } from './mutate.ts';

const requestLines = [
  'GET / HTTP/1.1',
  'GET /health HTTP/1.0',
  'GET http://other/health HTTP/1.1',
  'GET //health HTTP/1.1',
  'GET /health?%ff%fe HTTP/1.1',
  `GET /${'a'.repeat(20_000)} HTTP/1.1`,
  'GET /../../etc/passwd HTTP/1.1',
  'GET /swagger/assets/..%2f..%2fpackage.json HTTP/1.1',
  'OPTIONS * HTTP/1.1',
  'CONNECT localhost:80 HTTP/1.1',
  'TRACE / HTTP/1.1',
  'DELETE /categorize HTTP/1.1',
  'BREW /categorize HTTP/1.1',
  'PRI * HTTP/2.0',
  'GET / HTTP/9.9',
  'GET /',
  '/ HTTP/1.1',
  'POST  /categorize  HTTP/1.1',
  `POST /categorize?${'top_k=1&'.repeat(1000)} HTTP/1.1`,
  `POST /categorize?template=${'%7B%7D'.repeat(1000)} HTTP/1.1`,
  'POST /categorize?details=%00 HTTP/1.1',
  'HEAD /categorize HTTP/1.1',
  '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003', // TLS
] as const;

const headerLines = [
  'Host: localhost',
  'Host:',
  'Host: a b',
  'Host: [::1',
  'Expect: 100-continue',
  'Expect: nonsense',
  'Upgrade: websocket',
  'Upgrade: h2c',
  'Connection: Upgrade, HTTP2-Settings',
  'Connection: close',
  `Cookie: ${'c'.repeat(10_000)}`,
  `Content-Type: ${CONTENT_TYPE}`,
  'Content-Length: 0',
  'Content-Length: 0\r\nContent-Length: 5',
  'Transfer-Encoding: chunked',
  'X-Request-Id: \u0007<script>',
  `X-Request-Id: ${'x'.repeat(5000)}`,
  'Origin: null',
  'Range: bytes=0-',
  'no colon',
  ' folded: line',
  ': empty',
  'X-\u00e9: \u00ff',
] as const;

/** The head of a request, more or less: what HTTP parsers are made to refuse. */
export function hostileHead(random: Random): Uint8Array {
  if (random.chance(0.3)) {
    const sound = requestHead('/categorize', { 'Content-Type': CONTENT_TYPE, 'Content-Length': 0 });
    return mutate(Buffer.from(sound), random);
  }
  const lines = [
    random.pick(requestLines),
    ...Array.from({ length: random.below(6) }, () => random.pick(headerLines)),
  ];
  const text = `${lines.join('\r\n')}\r\n\r\n`;
  const bytes = Buffer.from(text, 'latin1');
  return random.chance(0.3) ? mutate(bytes, random) : bytes;
}
