/**
 * A decoder refused a picture: it is damaged, a variant of its format that no decoder here reads, or
 * larger than the decoder allows.
 */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
  readonly reason: 'broken' | 'unsupported' | 'too_large';

  constructor(reason: DecodeError['reason'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
