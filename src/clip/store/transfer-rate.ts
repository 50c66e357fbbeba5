/** Long enough to smooth out bursts, short enough to notice a change of network. */
const WINDOW_MS = 10_000;
const SAMPLE_EVERY_MS = 250;

/** Estimates how long a transfer still takes, from its pace over the last ten seconds. */
export class TransferRate {
  #samples: { readonly atMs: number; readonly bytes: number }[] = [];

  /**
   * @param atMs any steady clock, in milliseconds
   * @param bytes received so far; fewer than before means that the transfer began anew
   */
  add(atMs: number, bytes: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && bytes < last.bytes) this.#samples = [];
    else if (last !== undefined && atMs - last.atMs < SAMPLE_EVERY_MS) return;
    this.#samples.push({ atMs, bytes });
    while (this.#samples.length > 2 && atMs - this.#samples[0]!.atMs > WINDOW_MS) this.#samples.shift();
  }

  /** Whole seconds until `bytesTotal` is reached; undefined until a pace is known. */
  secondsLeft(bytesTotal: number): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.bytes <= first.bytes) return undefined;
    const bytesPerMs = (last.bytes - first.bytes) / (last.atMs - first.atMs);
    return Math.ceil(Math.max(0, bytesTotal - last.bytes) / bytesPerMs / 1000);
  }
}
