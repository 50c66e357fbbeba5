import { type FileHandle, open } from 'node:fs/promises';
import { parse } from 'protobufjs';
import { invariant } from '../../errors.ts';
import schema from './onnx.proto' with { type: 'text' };

/** A page: ONNX Runtime maps each weight from the file into memory instead of reading it. */
const ALIGNMENT = 4096;

/** The place of one tensor's bytes in a weight file. */
interface WeightLocation {
  /** Offset from the file's beginning, in bytes; a multiple of 4096. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** Weights one after another, little-endian and row-major, outside the ONNX file that refers to them. */
export class WeightFile implements AsyncDisposable {
  readonly #file: FileHandle;
  #end = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws Error if the file exists already */
  static async create(path: string): Promise<WeightFile> {
    return new WeightFile(await open(path, 'wx'));
  }

  async append(values: ArrayBufferView): Promise<WeightLocation> {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const byteOffset = Math.ceil(this.#end / ALIGNMENT) * ALIGNMENT;
    // One call may write only a part.
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        written,
        bytes.length - written,
        byteOffset + written,
      );
      written += bytesWritten;
    }
    this.#end = byteOffset + bytes.length;
    return { byteOffset, byteLength: bytes.length };
  }

  /** Returns when all bytes are on the disk: the folder gets its final name afterwards. */
  async flush(): Promise<void> {
    await this.#file.datasync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

const modelProto = parse(schema).root.lookupType('onnx.ModelProto');

/** The operator set of the graph's plain operators; com.microsoft's are ONNX Runtime's own. */
const OPSET_VERSION = 21;
/** The IR version that belongs to operator set 21. */
const IR_VERSION = 10;

/** TensorProto.DataType */
const dataTypes = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9, float16: 10 } as const;
type DataType = keyof typeof dataTypes;

/** TensorProto.DataLocation.EXTERNAL */
const EXTERNAL = 1;
/** AttributeProto.AttributeType */
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** The name of a tensor that flows through the graph. */
export type Value = string;

/** Numbers are ints, unless marked as float. */
type Attribute = number | readonly number[] | string | { readonly float: number };

type Operator =
  | `com.microsoft.${'FusedMatMul' | 'MatMulIntegerToFloat' | 'QuickGelu'}`
  | 'Abs'
  | 'Add'
  | 'ArgMax'
  | 'Cast'
  | 'Concat'
  | 'Expand'
  | 'Gather'
  | 'Gelu'
  | 'Greater'
  | 'LayerNormalization'
  | 'LpNormalization'
  | 'MatMul'
  | 'Max'
  | 'Mul'
  | 'Neg'
  | 'Pad'
  | 'QuantizeLinear'
  | 'Range'
  | 'ReduceMax'
  | 'ReduceMin'
  | 'Reshape'
  | 'Shape'
  | 'Slice'
  | 'Softmax'
  | 'Squeeze'
  | 'Transpose'
  | 'Unsqueeze'
  | 'Where';

/** Values of a weight. The array's class decides its type. */
type WeightValues = Float32Array | Float16Array | Int8Array;

/** A dimension: its size, or a name if only the running graph knows the size. */
type Dimension = number | string;

/**
 * Builds one ONNX graph. Nodes and small constants are kept; weights are written to the weight file, so that memory
 * holds one of them at a time.
 */
export class GraphBuilder {
  readonly #name: string;
  readonly #weightFile: WeightFile;
  readonly #weightFileName: string;
  readonly #inputs: object[] = [];
  readonly #outputs: object[] = [];
  readonly #observedOutputs: object[] = [];
  #nodes: object[] = [];
  #initializers: object[] = [];
  readonly #observingNodes: object[] = [];
  readonly #observingInitializers: object[] = [];

  /** @param weightFileName as written into the graph: relative to the ONNX file */
  constructor(name: string, weightFile: WeightFile, weightFileName: string) {
    this.#name = name;
    this.#weightFile = weightFile;
    this.#weightFileName = weightFileName;
  }

  input(name: string, type: DataType, shape: readonly Dimension[]): Value {
    this.#inputs.push(valueInfo(name, type, shape));
    return name;
  }

  output(value: Value, type: DataType, shape: readonly Dimension[]): void {
    this.#outputs.push(valueInfo(value, type, shape));
  }

  /**
   * Adds a float32 output that only the graph's observed form has, and the nodes that only it needs.
   * @param compute adds the nodes; returns the output
   */
  observe(shape: readonly Dimension[], compute: () => Value): void {
    const [nodes, initializers] = [this.#nodes, this.#initializers];
    this.#nodes = this.#observingNodes;
    this.#initializers = this.#observingInitializers;
    this.#observedOutputs.push(valueInfo(compute(), 'float32', shape));
    this.#nodes = nodes;
    this.#initializers = initializers;
  }

  /**
   * Adds a node with one output.
   * @param name of the node and of its output
   */
  node(
    name: string,
    operator: Operator,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value {
    const dot = operator.lastIndexOf('.');
    this.#nodes.push({
      name,
      domain: operator.slice(0, Math.max(dot, 0)),
      opType: operator.slice(dot + 1),
      input: inputs,
      output: [name],
      attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    });
    return name;
  }

  cast(name: string, value: Value, type: DataType): Value {
    return this.node(name, 'Cast', [value], { to: dataTypes[type] });
  }

  /** A list of whole numbers, such as a shape; one number becomes a scalar. */
  integers(name: string, values: readonly number[] | number): Value {
    const list = typeof values === 'number' ? [values] : values;
    this.#initializers.push({
      name,
      dims: typeof values === 'number' ? [] : [list.length],
      dataType: dataTypes.int64,
      rawData: new Uint8Array(BigInt64Array.from(list, BigInt).buffer),
    });
    return name;
  }

  scalar(name: string, type: 'float32' | 'uint8', value: number): Value {
    const values = type === 'float32' ? Float32Array.of(value) : Uint8Array.of(value);
    this.#initializers.push({
      name,
      dims: [],
      dataType: dataTypes[type],
      rawData: new Uint8Array(values.buffer),
    });
    return name;
  }

  /** Writes a weight to the weight file; `values` are not kept. */
  async weight(name: string, shape: readonly number[], values: WeightValues): Promise<Value> {
    const count = shape.reduce((product, size) => product * size, 1);
    invariant(values.length === count, `${name} of shape [${shape}] has ${values.length} values`);
    const { byteOffset, byteLength } = await this.#weightFile.append(values);
    this.#initializers.push({
      name,
      dims: shape,
      dataType: dataTypes[typeOf(values)],
      dataLocation: EXTERNAL,
      externalData: [
        { key: 'location', value: this.#weightFileName },
        { key: 'offset', value: String(byteOffset) },
        { key: 'length', value: String(byteLength) },
      ],
    });
    return name;
  }

  /**
   * @param form `observed`: with the outputs of `observe`. Both forms refer to the same weights
   * @returns the ONNX file, which refers to the weight file
   */
  encode(form: 'plain' | 'observed' = 'plain'): Uint8Array {
    const also = <T>(parts: readonly T[], observing: readonly T[]) =>
      form === 'plain' ? parts : [...parts, ...observing];
    const model = {
      irVersion: IR_VERSION,
      producerName: 'classify-images',
      opsetImport: [
        { domain: '', version: OPSET_VERSION },
        { domain: 'com.microsoft', version: 1 },
      ],
      graph: {
        name: this.#name,
        node: also(this.#nodes, this.#observingNodes),
        initializer: also(this.#initializers, this.#observingInitializers),
        input: this.#inputs,
        output: also(this.#outputs, this.#observedOutputs),
      },
    };
    const fault = modelProto.verify(model);
    invariant(!fault, `graph ${this.#name}: ${fault}`);
    return modelProto.encode(model).finish();
  }
}

function typeOf(values: WeightValues): DataType {
  if (values instanceof Int8Array) return 'int8';
  return values instanceof Float32Array ? 'float32' : 'float16';
}

function attribute(name: string, value: Attribute): object {
  if (typeof value === 'number') return { name, type: attributeTypes.int, i: value };
  if (typeof value === 'string') {
    return { name, type: attributeTypes.string, s: new TextEncoder().encode(value) };
  }
  if ('float' in value) return { name, type: attributeTypes.float, f: value.float };
  return { name, type: attributeTypes.ints, ints: value };
}

function valueInfo(name: string, type: DataType, shape: readonly Dimension[]): object {
  return {
    name,
    type: {
      tensorType: {
        elemType: dataTypes[type],
        shape: {
          dim: shape.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size })),
        },
      },
    },
  };
}
