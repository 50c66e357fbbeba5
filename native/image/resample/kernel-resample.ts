import type { ResampleKernel } from './load-kernel.ts';
import type { ResampleSquare } from './plain-resample.ts';

const PAGE_BYTES = 64 * 1024;
const VECTOR_BYTES = 16;
/** The kernel narrows so many at a time. */
const ROWS = 4;

/**
 * Resamples with the kernel, to the byte as `resamplePlainly` does. The kernel's memory is one for all, and stays as
 * large as the largest picture made it: 0.5 MB for 12 megapixels at an eighth, 1.3 MB for 100.
 */
export function createKernelResample({ memory, ...kernel }: ResampleKernel): ResampleSquare {
  return (readRow, horizontal, vertical, target, { origin, right, down }) => {
    const side = horizontal.starts.length;
    const sourceRowBytes = (horizontal.sourceEnd - horizontal.sourceStart) * 4;
    const sourceHeight = vertical.sourceEnd - vertical.sourceStart;
    const rowBytes = roundUp(side * 4, VECTOR_BYTES);
    const at = layOut(memory, {
      starts: horizontal.starts.byteLength,
      across: horizontal.weights.byteLength,
      downwards: vertical.weights.byteLength,
      rows: ROWS * sourceRowBytes,
      narrowed: roundUp(sourceHeight, ROWS) * rowBytes,
      weighed: rowBytes,
      square: target.length,
    });
    const { buffer } = memory;
    new Int32Array(buffer, at.starts).set(horizontal.starts);
    new Int32Array(buffer, at.across).set(horizontal.weights);
    new Int32Array(buffer, at.downwards).set(vertical.weights);

    const { starts, across } = at;
    for (let y = 0; y < sourceHeight; y += ROWS) {
      for (let row = 0; row < Math.min(ROWS, sourceHeight - y); row++) {
        readRow(new Uint8Array(buffer, at.rows + row * sourceRowBytes, sourceRowBytes));
      }
      const narrowed = at.narrowed + y * rowBytes;
      kernel.narrowFourRows(
        at.rows,
        sourceRowBytes,
        starts,
        across,
        horizontal.taps,
        narrowed,
        rowBytes,
        side,
      );
    }
    for (const [y, start] of vertical.starts.entries()) {
      const rows = at.narrowed + start * rowBytes;
      const weights = at.downwards + y * vertical.taps * 4;
      kernel.weighRows(rows, rowBytes, weights, vertical.taps, at.weighed);
      kernel.placeRow(at.weighed, side, at.square + origin + y * down, right);
    }
    target.set(new Uint8Array(buffer, at.square, target.length));
  };
}

/** Addresses for areas of so many bytes, one after another; the memory grows where it is too small. */
function layOut<Area extends string>(
  memory: WebAssembly.Memory,
  lengths: Readonly<Record<Area, number>>,
): Record<Area, number> {
  const addresses = {} as Record<Area, number>;
  let end = 0;
  for (const area in lengths) {
    addresses[area] = end;
    end += roundUp(lengths[area], VECTOR_BYTES);
  }
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
  return addresses;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
