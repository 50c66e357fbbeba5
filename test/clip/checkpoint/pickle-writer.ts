/** A Python value to pickle. */
export type Python =
  | null
  | boolean
  | number
  | string
  | { readonly tuple: readonly Python[] }
  | { readonly list: readonly Python[] }
  | { readonly dict: readonly (readonly [Python, Python])[] }
  /** Module and name. */
  | { readonly global: readonly [string, string] }
  /** A callable and its operands; items set on the result; state given to it. */
  | {
      readonly reduce: readonly [Python, readonly Python[]];
      readonly items?: readonly (readonly [Python, Python])[];
      readonly state?: Python;
    }
  /** An instance of a class, made without operands, and its state. */
  | { readonly instance: readonly [string, string]; readonly state?: Python }
  | { readonly persistent: Python }
  /** Opcodes as they are. */
  | { readonly raw: readonly number[] };

const utf8 = new TextEncoder();

/** Pickles a value as CPython does with that protocol (2 to 5), with a memo that is not read. */
export function pickle(value: Python, protocol = 2): Uint8Array {
  const body = [...encode(value, protocol), 0x2e];
  const frame = protocol >= 4 ? [0x95, ...littleEndian(body.length, 8)] : [];
  return Uint8Array.from([0x80, protocol, ...frame, ...body]);
}

function encode(value: Python, protocol: number): number[] {
  const all = (values: readonly Python[]): number[] => values.flatMap((item) => encode(item, protocol));
  const memo = protocol >= 4 ? [0x94] : [0x71, 0];
  if (value === null) return [0x4e];
  if (typeof value === 'boolean') return [value ? 0x88 : 0x89];
  if (typeof value === 'number') return encodeNumber(value);
  if (typeof value === 'string') return [...encodeString(value, protocol), ...memo];
  if ('raw' in value) return [...value.raw];
  if ('tuple' in value) return [0x28, ...all(value.tuple), 0x74];
  if ('list' in value) return [0x5d, ...memo, 0x28, ...all(value.list), 0x65];
  if ('dict' in value) return [0x7d, ...memo, 0x28, ...value.dict.flatMap((pair) => all(pair)), 0x75];
  if ('persistent' in value) return [...encode(value.persistent, protocol), 0x51];
  if ('global' in value) return [...encodeGlobal(value.global, protocol), ...memo];
  const state = value.state === undefined ? [] : [...encode(value.state, protocol), 0x62];
  if ('instance' in value) return [...encodeGlobal(value.instance, protocol), 0x29, 0x81, ...state];
  const [callable, operands] = value.reduce;
  const items = value.items === undefined ? [] : [0x28, ...value.items.flatMap((pair) => all(pair)), 0x75];
  return [...encode(callable, protocol), ...encode({ tuple: operands }, protocol), 0x52, ...items, ...state];
}

function encodeNumber(value: number): number[] {
  if (!Number.isInteger(value)) return [0x47, ...float64(value)];
  if (value >= 0 && value < 2 ** 8) return [0x4b, value];
  if (value >= 0 && value < 2 ** 16) return [0x4d, ...littleEndian(value, 2)];
  if (value >= -(2 ** 31) && value < 2 ** 31) return [0x4a, ...littleEndian(value, 4)];
  return [0x8a, 8, ...littleEndian(value, 8)];
}

function encodeString(value: string, protocol: number): number[] {
  const bytes = [...utf8.encode(value)];
  if (protocol >= 4 && bytes.length < 256) return [0x8c, bytes.length, ...bytes];
  return [0x58, ...littleEndian(bytes.length, 4), ...bytes];
}

function encodeGlobal([module, name]: readonly [string, string], protocol: number): number[] {
  if (protocol >= 4) return [...encodeString(module, protocol), ...encodeString(name, protocol), 0x93];
  return [0x63, ...utf8.encode(`${module}\n${name}\n`)];
}

function float64(value: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, false);
  return [...bytes];
}

export function littleEndian(value: number, byteLength: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value), true);
  return [...bytes.subarray(0, byteLength)];
}
