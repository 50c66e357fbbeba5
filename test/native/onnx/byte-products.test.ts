import { describe, expect, test } from 'bun:test';
import { byteProductsOverflow } from '../../../native/onnx/byte-products.ts';

const processor = (flags: string) => () => `processor\t: 0\nflags\t\t: fpu ${flags} sse2\nbugs\t\t: none\n`;

describe('byteProductsOverflow', () => {
  test.each(['avx2 avx512f avx512_vnni', 'avx2 avx_vnni', 'amx_tile amx_int8'])(
    'is false with %s',
    (flags) => {
      expect(byteProductsOverflow('x64', processor(flags))).toBe(false);
    },
  );

  test.each(['avx2', 'avx512f avx512bw', 'avx_vnni_int16', ''])('is true with %s alone', (flags) => {
    expect(byteProductsOverflow('x64', processor(flags))).toBe(true);
  });

  test('is false on other processors, which have no such instruction', () => {
    expect(byteProductsOverflow('arm64', processor('asimddp'))).toBe(false);
  });

  test('is true where nothing is known', () => {
    const unreadable = () => {
      throw new Error('ENOENT');
    };
    expect(byteProductsOverflow('x64', unreadable)).toBe(true);
  });
});
