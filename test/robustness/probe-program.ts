/**
 * Asks a service every 100 ms how it is, and for a normal answer, in a process of its own: what delays an attacker
 * does not delay it. Started by `probe.ts`, which it tells on request what it has seen.
 */
import type { ProbeOrder, Sighting } from './probe.ts';

const INTERVAL_MS = 100;

const [url = '', path = '', contentType = '', bodyFile = ''] = process.argv.slice(2);
const body = await Bun.file(bodyFile).bytes();
let seen = nothingSeen();
let expected: string | undefined;

/** A question that is asked again and again, one at a time. */
class Question {
  readonly #ask: () => Promise<void>;
  readonly #note: (milliseconds: number) => void;
  #askedAt: number | undefined;

  constructor(ask: () => Promise<void>, note: (milliseconds: number) => void) {
    this.#ask = ask;
    this.#note = note;
  }

  /** Notes also how long the answer that is still to come has taken so far. */
  look(): void {
    if (this.#askedAt !== undefined) this.#note(performance.now() - this.#askedAt);
  }

  async ask(): Promise<void> {
    if (this.#askedAt !== undefined) return;
    this.#askedAt = performance.now();
    try {
      await this.#ask();
    } catch (fault) {
      seen.wrong.push(String(fault));
    }
    this.look();
    this.#askedAt = undefined;
  }
}

const health = new Question(
  async () => {
    const response = await fetch(`${url}/health`, { headers: { connection: 'close' } });
    await response.arrayBuffer();
    if (response.status !== 200) seen.wrong.push(`/health answers ${response.status}`);
  },
  (milliseconds) => {
    seen.healthMs = Math.max(seen.healthMs, milliseconds);
  },
);
const normal = new Question(
  async () => {
    const headers = { 'content-type': contentType, connection: 'close' };
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body });
    const text = await response.text();
    if (response.status === 503) seen.refused += 1;
    else if (response.status !== 200) seen.wrong.push(`${response.status} ${text.slice(0, 300)}`);
    else if (text !== expected && expected !== undefined)
      seen.wrong.push(`another answer to a good request: ${text}`);
    else {
      expected = text;
      seen.answered += 1;
    }
  },
  (milliseconds) => {
    seen.requestMs = Math.max(seen.requestMs, milliseconds);
  },
);

let due = performance.now() + INTERVAL_MS;
setInterval(() => {
  const now = performance.now();
  seen.lateMs = Math.max(seen.lateMs, now - due);
  due = now + INTERVAL_MS;
  void health.ask();
  void normal.ask();
}, INTERVAL_MS);

process.on('message', (order: ProbeOrder) => {
  if (order !== 'tell') return;
  health.look();
  normal.look();
  process.send?.(seen);
  seen = nothingSeen();
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');

function nothingSeen(): Sighting {
  return { healthMs: 0, requestMs: 0, lateMs: 0, answered: 0, refused: 0, wrong: [] };
}
