import { dlopen } from 'bun:ffi';

/** The C library under the names by which these systems load it; elsewhere ONNX Runtime reports by other means. */
const cLibraries: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'libc.so.6',
  darwin: 'libSystem.B.dylib',
};

/**
 * Keeps ONNX Runtime from reporting to its makers, which it does by default since 1.29: a device id in the
 * home folder, uploads. It reads the variable once, from the process itself when the first session is made;
 * assigning to the script's environment object does not reach it, because Bun keeps a copy.
 */
export function disableTelemetry(): void {
  const library = cLibraries[process.platform];
  if (library === undefined) return;
  const c = dlopen(library, { setenv: { args: ['cstring', 'cstring', 'i32'], returns: 'i32' } });
  c.symbols.setenv(Buffer.from('ORT_DISABLE_TELEMETRY\0'), Buffer.from('1\0'), 1);
  c.close();
}
