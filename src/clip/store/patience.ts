import { errnoOf, messageOf } from './storage-error.ts';
import type { StoreTimings } from './store-timings.ts';
import { TransferError } from './transfer-error.ts';

/** Cuts a transfer whose source has gone quiet. Waiting for our own disk does not count. */
export class Patience implements Disposable {
  /** Aborted when the caller gives up, or when the source has been quiet for too long. */
  readonly signal: AbortSignal;
  readonly #quiet = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timings: StoreTimings;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timings: StoreTimings, outer: AbortSignal) {
    this.#timings = timings;
    this.#outer = outer;
    this.signal = AbortSignal.any([outer, this.#quiet.signal]);
  }

  /** Waits for an answer's head. */
  async answer<T>(head: Promise<T>): Promise<T> {
    const { responseTimeoutMs } = this.#timings;
    const reason = `it does not answer within ${responseTimeoutMs / 1000} s`;
    const late = new TransferError(reason, false, { answered: false });
    return await this.#wait(head, responseTimeoutMs, late, explainUnreachable);
  }

  /** Waits for the next bytes of an answer's body. */
  async bytes<T>(read: Promise<T>): Promise<T> {
    const { stallTimeoutMs } = this.#timings;
    const reason = `it sends nothing for ${stallTimeoutMs / 1000} s`;
    return await this.#wait(read, stallTimeoutMs, new TransferError(reason, true), explainBroken);
  }

  /** Closes the connection of an answer that was not read to its end. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#quiet.abort();
  }

  async #wait<T>(
    awaited: Promise<T>,
    limitMs: number,
    onLimit: TransferError,
    explain: (error: unknown) => TransferError,
  ): Promise<T> {
    this.#timer = setTimeout(() => this.#quiet.abort(onLimit), limitMs);
    try {
      return await awaited;
    } catch (error) {
      if (this.#outer.aborted) throw this.#outer.reason;
      throw this.#quiet.signal.aborted ? this.#quiet.signal.reason : explain(error);
    } finally {
      clearTimeout(this.#timer);
    }
  }
}

function explainUnreachable(error: unknown): TransferError {
  const errno = errnoOf(error);
  const transient = errno === 'ECONNRESET' || errno === 'EPIPE';
  const reason = `it cannot be reached (${errno ?? messageOf(error)})`;
  return new TransferError(reason, transient, { answered: false, cause: error });
}

function explainBroken(error: unknown): TransferError {
  return new TransferError(`the connection broke (${errnoOf(error) ?? messageOf(error)})`, true, {
    cause: error,
  });
}
