/**
 * An intermediate picture of many megabytes. Disposing it gives its memory back at once: the garbage
 * collector sees a small object and takes its time, while the next pictures are being decoded.
 */
export class Intermediate implements Disposable {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  [Symbol.dispose](): void {
    const { buffer, byteLength } = this.bytes;
    // A view into a larger buffer shares it with others.
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
  }
}
