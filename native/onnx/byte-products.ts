import { readFileSync } from 'node:fs';

/**
 * Whether ONNX Runtime's fast products of bytes can overflow on this processor. x86's older instructions add two
 * products of an unsigned and a signed byte in 16 bits, which may be too few; VNNI and AMX add them in 32.
 */
export function byteProductsOverflow(
  architecture: string = process.arch,
  readProcessorInfo: () => string = () => readFileSync('/proc/cpuinfo', 'utf8'),
): boolean {
  if (architecture !== 'x64') return false;
  try {
    return !/^flags\s*:.*\b(?:avx512_vnni|avx_vnni|amx_int8)\b/m.test(readProcessorInfo());
  } catch {
    // The slower products are right on every processor.
    return true;
  }
}
