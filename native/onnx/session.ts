import { dlopen } from 'bun:ffi';
import { readFileSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';

/**
 * Whether ONNX Runtime's products of bytes overflow on this processor unless told to be careful. x86's older
 * instructions add two products of an unsigned and a signed byte in 16 bits, where they may not fit; VNNI and
 * AMX add them in 32.
 */
export function byteProductsOverflow(
  architecture: string = process.arch,
  readProcessorInfo: () => string = () => readFileSync('/proc/cpuinfo', 'utf8'),
): boolean {
  if (architecture !== 'x64') return false;
  try {
    return !/^flags\s*:.*\b(?:avx512_vnni|avx_vnni|amx_int8)\b/m.test(readProcessorInfo());
  } catch {
    // Careful products are right everywhere.
    return true;
  }
}

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
function disableTelemetry(): void {
  const library = cLibraries[process.platform];
  if (library === undefined) return;
  const c = dlopen(library, { setenv: { args: ['cstring', 'cstring', 'i32'], returns: 'i32' } });
  c.symbols.setenv(Buffer.from('ORT_DISABLE_TELEMETRY\0'), Buffer.from('1\0'), 1);
  c.close();
}

/**
 * A tensor in memory of ours: row-major, `data.length` is the product of `dims`. `data` may be a view,
 * with a byte offset, over a SharedArrayBuffer.
 */
export type HostTensor =
  | { readonly type: 'uint8'; readonly dims: readonly number[]; readonly data: Uint8Array }
  | { readonly type: 'int32'; readonly dims: readonly number[]; readonly data: Int32Array }
  | { readonly type: 'float32'; readonly dims: readonly number[]; readonly data: Float32Array };

/** Tensors under the names of a graph's inputs or outputs. */
export type NamedTensors = Readonly<Record<string, HostTensor>>;

/** Whether a graph gets its inputs in a handful of shapes, or in any number of them. */
export type InputShapes = 'few' | 'many';

/**
 * `packed`: copied, in the order in which products read them fastest. `mapped`: read where they lie in the file,
 * from pages that the system may take back; the last digits of what comes out may then depend on the batch.
 */
export type WeightPlacement = 'packed' | 'mapped';

interface SessionOptions {
  /** intra-op threads, the caller's included; ONNX Runtime does not see a cgroup's quota. */
  readonly threads: number;
  /** Default: `many`. */
  readonly inputShapes?: InputShapes;
  /** Default: `packed`. */
  readonly weights?: WeightPlacement;
}

/** One loaded graph. */
export interface OnnxSession extends AsyncDisposable {
  /**
   * Runs the graph and writes its outputs in place into `outputs`, whose dims must be those that the
   * graph will give. Blocks the calling thread while it computes.
   */
  run(inputs: NamedTensors, outputs: NamedTensors): Promise<void>;
}

/**
 * Loads a graph and the weight files beside it. Blocks the calling thread while it loads.
 * Open a graph once per process: releasing and opening again leaks.
 */
export async function openSession(graphPath: string, options: SessionOptions): Promise<OnnxSession> {
  disableTelemetry();
  const session = await InferenceSession.create(graphPath, {
    executionProviders: ['cpu'],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // Without the arena every intermediate result is mapped and unmapped, and its pages fault in anew. ViT-B/32
    // in int8 on two cores, a batch of 8, then a mixed load of pictures and texts:
    //   arena on                            73 pictures/s, peak 296 MB, afterwards 294 MB
    //   arena off                           52 pictures/s, peak 389 MB, afterwards 277 MB, 3,900 faults a picture
    //   off, and glibc told not to give     70 pictures/s, peak 384 MB, afterwards 309 MB
    //   back (M_TRIM_THRESHOLD 64 MB)
    // It does not grow any further: batches are bounded.
    enableCpuMemArena: true,
    // For each shape that comes ONNX Runtime can remember where the intermediate results lay, and then takes one
    // block for a run instead of hundreds: 2 % faster in batches of 8, 4 % for a single picture, in the same
    // memory. It never forgets a shape, though, and each takes some 100 KB.
    enableMemPattern: options.inputShapes === 'few',
    // Only what is fatal: errors are thrown, and would otherwise stand a second time in the middle of the log.
    logSeverityLevel: 4,
    extra: {
      session: {
        // Whoever serves must pack: a product of one row takes another path through weights that are not, and a
        // picture's digits would depend on its batch.
        disable_prepacking: options.weights === 'mapped' ? '1' : '0',
        // Waiting 50 µs for the next operator's work instead of sleeping at once makes a single picture a third
        // faster and a batch 6 %; idle threads, which must not take the CPU from decoding, sleep after that.
        intra_op: { allow_spinning: '1', spin_duration_us: '50' },
        // Twice as slow where it is not needed.
        x64quantprecision: byteProductsOverflow() ? '1' : '0',
      },
    },
  });
  return {
    async run(inputs, outputs) {
      await session.run(toTensors(inputs), toTensors(outputs));
    },
    async [Symbol.asyncDispose]() {
      await session.release();
    },
  };
}

function toTensors(named: NamedTensors): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(named).map(([name, tensor]) => [name, toTensor(tensor)]));
}

function toTensor(tensor: HostTensor): Tensor {
  switch (tensor.type) {
    case 'uint8':
      return new Tensor('uint8', tensor.data, tensor.dims);
    case 'int32':
      return new Tensor('int32', tensor.data, tensor.dims);
    case 'float32':
      return new Tensor('float32', tensor.data, tensor.dims);
  }
}
