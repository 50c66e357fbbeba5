/** What `kernel.ts` exports. */
export interface ResampleKernel {
  readonly memory: WebAssembly.Memory;
  narrowFourRows(
    rows: number,
    rowBytes: number,
    starts: number,
    weights: number,
    taps: number,
    narrowed: number,
    narrowedBytes: number,
    width: number,
  ): void;
  weighRows(rows: number, rowBytes: number, weights: number, taps: number, weighed: number): void;
  placeRow(row: number, width: number, place: number, step: number): void;
}

/** @returns undefined where WebAssembly has no vectors: on x86 without AVX */
export async function loadKernel(): Promise<ResampleKernel | undefined> {
  const bytes = await Bun.file(new URL('kernel.wasm', import.meta.url)).bytes();
  if (!WebAssembly.validate(bytes)) return undefined;
  const { instance } = await WebAssembly.instantiate(bytes);
  return instance.exports as unknown as ResampleKernel;
}
