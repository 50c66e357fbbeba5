/** A source did not deliver. The message says why, for the log. */
export class TransferError extends Error {
  override readonly name = 'TransferError';
  /** Whether asking the same source again may help. */
  readonly transient: boolean;

  constructor(reason: string, transient: boolean, options?: ErrorOptions) {
    super(reason, options);
    this.transient = transient;
  }
}
