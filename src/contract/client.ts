import type { ErrorCode } from '../errors.ts';
import { adviceForStatus, type ClientAdvice, errorMeanings, isErrorCode } from './codes.ts';

/** What came back from one attempt. */
export interface Received {
  /** 0: no answer came, because the connection was refused or broke. */
  readonly status: number;
  /** Parsed JSON, or the text where it is not JSON; with status 0, the reason. */
  readonly body: unknown;
  /** The header `Retry-After`. */
  readonly retryAfterSeconds?: number | undefined;
}

/** Why a request has no answer. */
export interface Refusal extends ClientAdvice {
  /**
   * The service's code; `unknown`: a code of a later version of the service; `unreachable`: no answer came;
   * `unreadable`: the answer is not one of this service.
   */
  readonly code: ErrorCode | 'unknown' | 'unreachable' | 'unreadable';
  /** For a person. */
  readonly sentence: string;
  readonly received: Received;
  /** When to send it again, as the service or a proxy said. */
  readonly retryAfterSeconds: number | undefined;
}

/** Reads a body that should be JSON. @returns the text where it is not */
export function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Reads an answer that is not a success. */
export function refusalOf(received: Received): Refusal {
  const { status, body, retryAfterSeconds } = received;
  const { code, error, retry_after_seconds: seconds } = fieldsOf(body);
  const isOfService = typeof code === 'string' && typeof error === 'string';
  const { client, about } = isErrorCode(code) ? errorMeanings[code] : adviceForStatus(status);
  const otherwise = status === 0 ? 'unreachable' : 'unreadable';
  return {
    code: isErrorCode(code) ? code : isOfService ? 'unknown' : otherwise,
    sentence: isOfService ? error : unexplained(status),
    client,
    about,
    received,
    // Events of a video have no headers of their own.
    retryAfterSeconds: typeof seconds === 'number' ? seconds : retryAfterSeconds,
  };
}

function fieldsOf(body: unknown): { readonly [field: string]: unknown } {
  return typeof body === 'object' && body !== null ? { ...body } : {};
}

function unexplained(status: number): string {
  if (status === 0) return 'The service cannot be reached.';
  return `The answer with status ${status} did not come from this service – is a proxy in between?`;
}

/** How long a client waits; tests shorten it. */
export interface Patience {
  /** How many attempts may fail; those at which the service is busy do not count. */
  readonly attempts: number;
  /** The pause after the first failed attempt, doubled each time; the shortest pause for a busy service. */
  readonly backOffSeconds: number;
  /** The pause for a busy service that does not say how long. */
  readonly busyPauseSeconds: number;
  /** How long it waits for a busy service. Infinity: a person stops it. */
  readonly busySeconds: number;
}

export const defaultPatience: Patience = {
  attempts: 5,
  backOffSeconds: 1,
  busyPauseSeconds: 5,
  // Downloading and compiling a model takes minutes.
  busySeconds: 30 * 60,
};

export interface SendingOptions {
  readonly signal: AbortSignal;
  /** Called with the reason of a pause, and its length. */
  readonly onWait: (refusal: Refusal, seconds: number) => void;
  readonly patience?: Partial<Patience>;
  /**
   * Resolves when the service says that it is ready. With it, a client also waits for what only an operator can cure,
   * and for a service that has gone, however long that takes.
   * @throws the signal's reason
   */
  readonly untilReady?: (signal: AbortSignal) => Promise<void>;
  /** Tests replace it. */
  readonly pause?: typeof pause;
}

/** Refusals that say only what state the service is in. /health says the same, and when it ends. */
export const statesOfService: ReadonlySet<Refusal['code']> = new Set([
  'model_loading',
  'model_missing',
  'shutting_down',
  'unreachable',
]);

/**
 * Sends a request until it is answered, or until sending it again does not help.
 * @param attempt sends it, whole
 * @returns the answer, or the last refusal
 * @throws what `attempt` throws; the signal's reason
 */
export async function sendPatiently(
  attempt: () => Promise<Received>,
  { signal, onWait, untilReady, pause: wait = pause, ...options }: SendingOptions,
): Promise<{ readonly answer: unknown } | { readonly refusal: Refusal }> {
  const patience = { ...defaultPatience, ...options.patience };
  let failures = 0;
  let busySince: number | undefined;
  for (;;) {
    const received = await attempt();
    if (received.status >= 200 && received.status < 300) return { answer: received.body };
    const refusal = refusalOf(received);
    const { client, about, code, retryAfterSeconds } = refusal;
    const isForOperator = client === 'never_retry' && about === 'service' && untilReady !== undefined;
    let seconds: number;
    if (client === 'wait' || isForOperator) {
      // Not since the first attempt: its upload may have taken longer than that.
      busySince ??= performance.now();
      if (performance.now() - busySince > patience.busySeconds * 1000) return { refusal };
      // The end of a state ends the wait, so the pause before the first look is short.
      const isWatched = untilReady !== undefined && statesOfService.has(code);
      const busyPause = isWatched ? 0 : (retryAfterSeconds ?? patience.busyPauseSeconds);
      seconds = Math.max(patience.backOffSeconds, busyPause);
    } else if (client === 'retry') {
      failures += 1;
      if (failures >= patience.attempts) return { refusal };
      seconds = Math.max(patience.backOffSeconds * 2 ** (failures - 1), retryAfterSeconds ?? 0);
    } else return { refusal };
    onWait(refusal, seconds);
    await wait(seconds, signal);
    await untilReady?.(signal);
  }
}

/** @throws the signal's reason */
function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, seconds * 1000);
    signal.addEventListener('abort', stop, { once: true });
  });
}
