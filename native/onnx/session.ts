import { dlopen } from 'bun:ffi';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { byteProductsOverflow } from './byte-products.ts';

/** The C library's name by system. On other systems ONNX Runtime reports by other means. */
const cLibraries: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'libc.so.6',
  darwin: 'libSystem.B.dylib',
};

/**
 * Keeps ONNX Runtime from reporting to its makers, which it does by default since 1.29: a device id in the
 * home folder, uploads. It reads the variable from the C library when the first session is made. Assigning to
 * the script's environment object does not reach it, because Bun keeps a copy.
 */
function disableTelemetry(): void {
  const library = cLibraries[process.platform];
  if (library === undefined) return;
  const c = dlopen(library, { setenv: { args: ['cstring', 'cstring', 'i32'], returns: 'i32' } });
  c.symbols.setenv(Buffer.from('ORT_DISABLE_TELEMETRY\0'), Buffer.from('1\0'), 1);
  c.close();
}

/**
 * A tensor in our own memory: row-major, `data.length` is the product of `dims`. `data` may be a view of a
 * SharedArrayBuffer, with a byte offset.
 */
export type HostTensor =
  | { readonly type: 'uint8'; readonly dims: readonly number[]; readonly data: Uint8Array }
  | { readonly type: 'int32'; readonly dims: readonly number[]; readonly data: Int32Array }
  | { readonly type: 'float32'; readonly dims: readonly number[]; readonly data: Float32Array };

/** Tensors under the names of a graph's inputs or outputs. */
export type NamedTensors = Readonly<Record<string, HostTensor>>;

/** Whether a graph's inputs have a handful of shapes, or any number of them. */
export type InputShapes = 'few' | 'many';

/**
 * `packed`: copied, in the order in which products read them fastest. `mapped`: read from pages of the file, which
 * the system may take back; the last digits of an output may then depend on the batch.
 */
export type WeightPlacement = 'packed' | 'mapped';

interface SessionOptions {
  /** Threads that compute one operation together, the caller's included; ONNX Runtime does not see a cgroup's quota. */
  readonly threads: number;
  /** Default: `many`. */
  readonly inputShapes?: InputShapes;
  /** Default: `packed`. */
  readonly weights?: WeightPlacement;
}

/** One loaded graph. */
export interface OnnxSession extends AsyncDisposable {
  /**
   * Runs the graph and writes into `outputs`, whose dims must be those of the graph's outputs. Blocks the calling
   * thread.
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
    // Without the arena, every intermediate result is mapped, faulted in and unmapped. ViT-B/32 in int8 on two
    // cores, a batch of 8, then a mixed load of pictures and texts:
    //   arena on                            73 pictures/s, peak 296 MB, afterwards 294 MB
    //   arena off                           52 pictures/s, peak 389 MB, afterwards 277 MB, 3,900 faults a picture
    //   off, M_TRIM_THRESHOLD 64 MB         70 pictures/s, peak 384 MB, afterwards 309 MB
    // The arena stops growing, because batches are bounded.
    enableCpuMemArena: true,
    // ONNX Runtime can remember the layout of the intermediate results for each input shape. A run then allocates
    // one block instead of hundreds: 2 % faster in batches of 8, 4 % for a single picture, in the same memory. But
    // it never forgets a shape, and each takes about 100 KB.
    enableMemPattern: options.inputShapes === 'few',
    // Only fatal messages. Errors are thrown; without this the log would also have them.
    logSeverityLevel: 4,
    extra: {
      session: {
        // Serving needs prepacked weights. Without them a one-row product takes a different kernel, and an
        // embedding would depend on its batch.
        disable_prepacking: options.weights === 'mapped' ? '1' : '0',
        // Threads wait 50 µs for the next operator before they sleep. That makes a single picture a third faster,
        // and a batch 6 %. Idle threads must sleep, to leave the CPU to decoding.
        intra_op: { allow_spinning: '1', spin_duration_us: '50' },
        // Makes int8 twice as slow, so only processors that need it get it.
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
