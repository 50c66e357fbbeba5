/**
 * An intermediate picture of many megabytes. Disposing it gives its memory back at once: the garbage
 * collector sees a small object and takes its time, while the next pictures are being decoded.
 */
export class Intermediate implements Disposable {
  readonly bytes: Uint8Array;

  /** @param bytes that own their buffer: nobody else may look into it */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  [Symbol.dispose](): void {
    const { buffer } = this.bytes;
    if (buffer instanceof ArrayBuffer) buffer.transfer(0);
  }
}
