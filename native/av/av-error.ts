import { AVERROR_EAGAIN, AVERROR_ENOMEM, AVERROR_EOF } from 'node-av/constants';
import { FFmpegError } from 'node-av/lib';

/** libav reported an error. */
export class AvError extends Error {
  override readonly name = 'AvError';
  /** libav's code, negative. */
  readonly code: number;

  constructor(operation: string, code: number) {
    super(`${operation}: ${FFmpegError.strerror(code)}`);
    this.code = code;
  }

  get isOutOfMemory(): boolean {
    return this.code === AVERROR_ENOMEM;
  }
}

/**
 * @param code what a call of libav returned
 * @param operation names the call in the error
 * @throws AvError where the code is negative
 */
export function check(code: number, operation: string): number {
  if (code < 0) throw new AvError(operation, code);
  return code;
}

/** libav has no output now: it needs more input, or has reached the end. */
export function isNothing(code: number): boolean {
  return code === AVERROR_EAGAIN || code === AVERROR_EOF;
}
