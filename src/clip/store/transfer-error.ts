/** A source did not deliver. The message says why, for the log. */
export class TransferError extends Error {
  override readonly name = 'TransferError';
  /** Whether asking the same source again may help. */
  readonly transient: boolean;
  /** False: nobody answered, so other files of that host are as far away. */
  readonly answered: boolean;

  constructor(
    reason: string,
    transient: boolean,
    options: ErrorOptions & { readonly answered?: boolean } = {},
  ) {
    super(reason, options);
    this.transient = transient;
    this.answered = options.answered ?? true;
  }
}
