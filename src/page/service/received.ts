/** What came back. */
export interface Received {
  /** 0: no answer came, the connection broke or was refused. */
  readonly status: number;
  readonly text: string;
  readonly retryAfterSeconds: number | undefined;
}
