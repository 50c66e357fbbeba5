import { CheckpointError, quote } from './checkpoint.ts';

/** Reads a pickle's operands one after another, never beyond its end. */
class PickleCursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get position(): number {
    return this.#position;
  }

  take(byteLength: number): Uint8Array {
    return this.#bytes.subarray(this.#advance(byteLength), this.#position);
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** The only operand that is big-endian. */
  float64(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** Python's own variable-length integers: little-endian, two's complement. */
  long(byteLength: number): number | bigint {
    if (byteLength > MAX_LONG_BYTES)
      throw new CheckpointError(`its pickle holds a number of ${byteLength} bytes`);
    let value = 0n;
    const bytes = this.take(byteLength);
    for (let i = byteLength - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    return narrowed(byteLength === 0 ? 0n : BigInt.asIntN(byteLength * 8, value));
  }

  /** UTF-8, ended by a line feed. */
  line(): string {
    const start = this.#position;
    const end = this.#bytes.subarray(0, start + MAX_LINE_BYTES).indexOf(LINE_FEED, start);
    if (end < 0) throw new CheckpointError(`its pickle holds a line without end at byte ${start}`);
    this.#position = end + 1;
    return text.decode(this.#bytes.subarray(start, end));
  }

  string(byteLength: number): string {
    return text.decode(this.take(byteLength));
  }

  #advance(byteLength: number): number {
    const start = this.#position;
    if (byteLength > this.#bytes.byteLength - start) {
      throw new CheckpointError(
        `its pickle is cut short: ${byteLength} bytes are announced at byte ${start} of ${this.#bytes.byteLength}`,
      );
    }
    this.#position = start + byteLength;
    return start;
  }
}

/** Sizes and positions need 8; PyTorch's magic number has 10. */
const MAX_LONG_BYTES = 32;
const MAX_LINE_BYTES = 4096;
const LINE_FEED = 0x0a;
// A byte order mark would be part of the string.
const text = new TextDecoder('utf-8', { ignoreBOM: true });

/** A number if it is exact, as sizes always are. */
function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** The values of a pickle. Lists and tuples are arrays, dictionaries are Maps. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleObject
  | PickleGlobal;

/** Base of the objects that a pickle's globals describe. */
export abstract class PickleObject {
  /**
   * Receives the state that a pickle gives to an object.
   * @returns false if objects of this kind have none
   */
  build(_state: PickleValue): boolean {
    return false;
  }
}

/** A name in a pickle. It stands for our own description; nothing of that name is imported or run. */
export class PickleGlobal {
  readonly name: string;
  readonly #make: ((operands: readonly PickleValue[]) => PickleValue) | undefined;

  /** @param make replaces a call of the name; undefined if it cannot be called */
  constructor(name: string, make?: (operands: readonly PickleValue[]) => PickleValue) {
    this.name = name;
    this.#make = make;
  }

  /** @returns undefined if the name cannot be called */
  make(operands: readonly PickleValue[]): PickleValue | undefined {
    return this.#make?.(operands);
  }
}

/** What the names and references of a pickle mean. */
export interface PickleVocabulary {
  /** @throws CheckpointError for every unknown name */
  resolve(module: string, name: string): PickleGlobal;
  /** The target of a persistent id. @throws CheckpointError if there is none */
  load(id: PickleValue): PickleValue;
}

/** The stack, the marks and the memo of a pickle. Every method checks its operands. */
class PickleMachine {
  readonly cursor: PickleCursor;
  readonly vocabulary: PickleVocabulary;
  readonly #stack: PickleValue[] = [];
  /** Heights of the stack at its marks. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(bytes: Uint8Array, vocabulary: PickleVocabulary) {
    this.cursor = new PickleCursor(bytes);
    this.vocabulary = vocabulary;
  }

  push(value: PickleValue): void {
    this.#stack.push(value);
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  top(): PickleValue {
    if (this.#stack.length <= this.#floor) throw this.damaged('takes from an empty stack');
    return this.#stack.at(-1)!;
  }

  pop(): PickleValue {
    const value = this.top();
    this.#stack.pop();
    return value;
  }

  popSeveral(count: number): PickleValue[] {
    const start = this.#stack.length - count;
    if (start < this.#floor) throw this.damaged('takes from an empty stack');
    return this.#stack.splice(start);
  }

  popToMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.damaged('has no mark where one is needed');
    return this.#stack.splice(mark);
  }

  get memoSize(): number {
    return this.#memo.size;
  }

  memorise(index: number): void {
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.damaged(`refers to its memo ${index}, which is empty`);
    this.push(value);
  }

  append(items: readonly PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.damaged('appends to something that is not a list');
    for (const item of items) list.push(item);
  }

  setItems(items: readonly PickleValue[]): void {
    const dictionary = this.top();
    if (!(dictionary instanceof Map)) throw this.damaged('sets items of something that is not a dictionary');
    if (items.length % 2 !== 0) throw this.damaged('sets a key without a value');
    for (let i = 0; i < items.length; i += 2) dictionary.set(items[i]!, items[i + 1]!);
  }

  /** Replaces a call of a name: the vocabulary describes the result. */
  make(): void {
    const [callable, operands] = this.popSeveral(2);
    if (!(callable instanceof PickleGlobal)) throw this.damaged('calls something that is not a name');
    if (!Array.isArray(operands)) throw this.damaged(`calls ${quote(callable.name)} without operands`);
    const made = callable.make(operands);
    if (made === undefined) throw this.damaged(`calls ${quote(callable.name)}, which cannot be called`);
    this.push(made);
  }

  build(): void {
    const state = this.pop();
    const object = this.top();
    // An OrderedDict's attributes, where PyTorch keeps version numbers, are ignored.
    if (object instanceof Map) return;
    if (object instanceof PickleObject && object.build(state)) return;
    throw this.damaged('gives state to a plain value');
  }

  damaged(what: string): CheckpointError {
    return new CheckpointError(
      `its pickle ${what} (before byte ${this.cursor.position}): damaged, or not PyTorch's`,
    );
  }

  /** Values under the last mark are out of reach. */
  get #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }
}

/**
 * The pickle opcodes that `torch.save` writes in protocols 2 to 5, and TorchScript's C++ in protocol 2, by the
 * names of CPython's `pickletools.py`. PyTorch writes no byte strings and no sets.
 */
const opcode = {
  MARK: 0x28,
  STOP: 0x2e,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  NONE: 0x4e,
  BINPERSID: 0x51,
  REDUCE: 0x52,
  BINUNICODE: 0x58,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  BUILD: 0x62,
  GLOBAL: 0x63,
  APPENDS: 0x65,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  SETITEM: 0x73,
  TUPLE: 0x74,
  SETITEMS: 0x75,
  EMPTY_DICT: 0x7d,
  EMPTY_TUPLE: 0x29,
  BINFLOAT: 0x47,
  // protocol 2
  PROTO: 0x80,
  NEWOBJ: 0x81,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  LONG1: 0x8a,
  // protocol 4
  SHORT_BINUNICODE: 0x8c,
  STACK_GLOBAL: 0x93,
  MEMOIZE: 0x94,
  FRAME: 0x95,
} as const;

/**
 * A pickle has no loops, so this limits time and memory. ViT-B/32 has 11,700, a training checkpoint with two
 * optimiser states about 50,000.
 */
const MAX_OPERATIONS = 500_000;

const MAX_PROTOCOL = 5;

/**
 * Reads a pickle as data: arrays, Maps and the vocabulary's descriptions. Nothing is imported, called or evaluated.
 * @throws CheckpointError if the pickle is damaged, or uses a name that the vocabulary does not know
 */
export function readPickle(bytes: Uint8Array, vocabulary: PickleVocabulary): PickleValue {
  const machine = new PickleMachine(bytes, vocabulary);
  for (let count = 0; count < MAX_OPERATIONS; count++) {
    const code = machine.cursor.uint8();
    if (code === opcode.STOP) return machine.pop();
    const operation = operations.get(code);
    if (operation === undefined)
      throw machine.damaged(`holds the opcode ${code}, which PyTorch does not write`);
    operation(machine);
  }
  throw new CheckpointError(`its pickle has more than ${MAX_OPERATIONS} operations, far more than a CLIP's`);
}

type Operation = (machine: PickleMachine) => void;

/** What each opcode does, after CPython's `pickletools.py`. */
const operations: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  // a frame's length only helps readers of streams
  [opcode.PROTO, checkProtocol],
  [opcode.FRAME, (m) => m.cursor.take(8)],

  // the stack and the memo
  [opcode.MARK, (m) => m.mark()],
  [opcode.BINPUT, (m) => m.memorise(m.cursor.uint8())],
  [opcode.LONG_BINPUT, (m) => m.memorise(m.cursor.uint32())],
  [opcode.MEMOIZE, (m) => m.memorise(m.memoSize)],
  [opcode.BINGET, (m) => m.recall(m.cursor.uint8())],
  [opcode.LONG_BINGET, (m) => m.recall(m.cursor.uint32())],

  // plain values
  [opcode.NONE, (m) => m.push(null)],
  [opcode.NEWTRUE, (m) => m.push(true)],
  [opcode.NEWFALSE, (m) => m.push(false)],
  [opcode.BININT, (m) => m.push(m.cursor.int32())],
  [opcode.BININT1, (m) => m.push(m.cursor.uint8())],
  [opcode.BININT2, (m) => m.push(m.cursor.uint16())],
  [opcode.LONG1, (m) => m.push(m.cursor.long(m.cursor.uint8()))],
  [opcode.BINFLOAT, (m) => m.push(m.cursor.float64())],
  [opcode.SHORT_BINUNICODE, (m) => m.push(m.cursor.string(m.cursor.uint8()))],
  [opcode.BINUNICODE, (m) => m.push(m.cursor.string(m.cursor.uint32()))],

  // containers
  [opcode.EMPTY_LIST, (m) => m.push([])],
  [opcode.EMPTY_TUPLE, (m) => m.push([])],
  [opcode.TUPLE, (m) => m.push(m.popToMark())],
  [opcode.TUPLE1, (m) => m.push(m.popSeveral(1))],
  [opcode.TUPLE2, (m) => m.push(m.popSeveral(2))],
  [opcode.TUPLE3, (m) => m.push(m.popSeveral(3))],
  [opcode.APPEND, (m) => m.append(m.popSeveral(1))],
  [opcode.APPENDS, (m) => m.append(m.popToMark())],
  [opcode.EMPTY_DICT, (m) => m.push(new Map())],
  [opcode.SETITEM, (m) => m.setItems(m.popSeveral(2))],
  [opcode.SETITEMS, (m) => m.setItems(m.popToMark())],

  // names and what is made of them
  [opcode.GLOBAL, (m) => m.push(m.vocabulary.resolve(m.cursor.line(), m.cursor.line()))],
  [opcode.STACK_GLOBAL, resolveFromStack],
  [opcode.REDUCE, (m) => m.make()],
  [opcode.NEWOBJ, (m) => m.make()],
  [opcode.BUILD, (m) => m.build()],
  [opcode.BINPERSID, (m) => m.push(m.vocabulary.load(m.pop()))],
]);

function checkProtocol(machine: PickleMachine): void {
  const protocol = machine.cursor.uint8();
  if (protocol > MAX_PROTOCOL) {
    throw machine.damaged(`has protocol ${protocol}; protocols up to ${MAX_PROTOCOL} are supported`);
  }
}

function resolveFromStack(machine: PickleMachine): void {
  const [module, name] = machine.popSeveral(2);
  if (typeof module !== 'string' || typeof name !== 'string')
    throw machine.damaged('has a name that is not text');
  machine.push(machine.vocabulary.resolve(module, name));
}
