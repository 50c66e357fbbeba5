/** What went wrong, for those who branch on it. */
export type ModelStoreFault =
  | 'model_unknown'
  | 'precision_unavailable'
  | 'checkpoint_missing'
  | 'checkpoint_unreadable'
  | 'checkpoint_unsound'
  | 'download_failed'
  | 'storage_full'
  | 'storage_failed'
  | 'compile_failed';

/** A model could not be had. The message is a sentence for the operator: what is wrong and what helps. */
export class ModelStoreError extends Error {
  override readonly name = 'ModelStoreError';
  readonly fault: ModelStoreFault;
  /** False: only other settings can help, so trying again is of no use. */
  readonly retryable: boolean;

  constructor(fault: ModelStoreFault, sentence: string, options?: ErrorOptions) {
    super(sentence, options);
    this.fault = fault;
    this.retryable = fault !== 'model_unknown' && fault !== 'precision_unavailable';
  }
}

/** @param sentence which file it is, and what is wrong with it */
export function unsoundCheckpoint(sentence: string, options?: ErrorOptions): ModelStoreError {
  return new ModelStoreError('checkpoint_unsound', `${sentence} Replace or remove it.`, options);
}
