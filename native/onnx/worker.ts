/** Element types of tensors in the arena. */
export type ElementType = 'uint8' | 'int32' | 'float32';

/** A tensor that lies in the arena: the worker reads inputs and writes outputs there in place. */
export interface ArenaTensor {
  /** Name of the graph's input or output. */
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** Offset from the arena's beginning, in bytes; a multiple of 64. */
  readonly byteOffset: number;
}

/** ONNX Runtime in a thread of its own: `run` blocks whoever calls it, so nobody else does. */
export interface OnnxWorker extends AsyncDisposable {
  /** Preallocated memory that both sides see. */
  readonly arena: SharedArrayBuffer;
  /** Loads a graph under a name. Once per process: releasing and loading again leaks. */
  load(session: string, graphPath: string): Promise<void>;
  /** Runs one graph; resolves when the outputs stand in the arena. Calls are served one after another. */
  run(session: string, inputs: readonly ArenaTensor[], outputs: readonly ArenaTensor[]): Promise<void>;
}

export interface OnnxWorkerOptions {
  readonly arenaBytes: number;
  /** intra-op threads; ONNX Runtime does not see a cgroup's quota. */
  readonly threads: number;
}
