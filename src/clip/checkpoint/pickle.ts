import { CheckpointError, quote } from './checkpoint-error.ts';
import { narrowed } from './pickle-cursor.ts';
import { PickleMachine, type PickleVocabulary } from './pickle-machine.ts';
import { opcode } from './pickle-opcodes.ts';
import type { PickleValue } from './pickle-value.ts';

/**
 * A pickle has no loops, so this bounds time and memory. ViT-B/32 takes 11,700, a training
 * checkpoint with two optimiser states some 50,000.
 */
const MAX_OPERATIONS = 500_000;

const MAX_PROTOCOL = 5;

const DECIMAL = /^[+-]?\d{1,64}L?$/;

/**
 * Reads a pickle as data: its own small machine builds arrays, Maps and the vocabulary's descriptions.
 * Nothing is imported, called or evaluated.
 * @throws CheckpointError where the pickle is damaged or names what the vocabulary does not know
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
  throw new CheckpointError(`its pickle takes more than ${MAX_OPERATIONS} operations, far more than a CLIP`);
}

type Operation = (machine: PickleMachine) => void;

/** What each opcode does, after CPython's `pickletools.py`. */
const operations: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  // framing; a frame's length is only a hint for readers from a stream
  [opcode.PROTO, checkProtocol],
  [opcode.FRAME, (m) => m.cursor.uint64()],

  // the stack and the memo
  [opcode.MARK, (m) => m.mark()],
  [opcode.POP, (m) => m.discard()],
  [opcode.POP_MARK, (m) => m.popToMark()],
  [opcode.DUP, (m) => m.push(m.top())],
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
  [opcode.LONG4, (m) => m.push(m.cursor.long(m.cursor.uint32()))],
  [opcode.INT, (m) => m.push(decimal(m.cursor.line()))],
  [opcode.LONG, (m) => m.push(decimal(m.cursor.line()))],
  [opcode.BINFLOAT, (m) => m.push(m.cursor.float64())],
  [opcode.SHORT_BINSTRING, (m) => m.push(m.cursor.string(m.cursor.uint8()))],
  [opcode.SHORT_BINUNICODE, (m) => m.push(m.cursor.string(m.cursor.uint8()))],
  [opcode.BINSTRING, (m) => m.push(m.cursor.string(m.cursor.uint32()))],
  [opcode.BINUNICODE, (m) => m.push(m.cursor.string(m.cursor.uint32()))],
  [opcode.BINUNICODE8, (m) => m.push(m.cursor.string(m.cursor.uint64()))],
  [opcode.SHORT_BINBYTES, (m) => m.push(m.cursor.take(m.cursor.uint8()))],
  [opcode.BINBYTES, (m) => m.push(m.cursor.take(m.cursor.uint32()))],
  [opcode.BINBYTES8, (m) => m.push(m.cursor.take(m.cursor.uint64()))],
  [opcode.BYTEARRAY8, (m) => m.push(m.cursor.take(m.cursor.uint64()))],

  // containers
  [opcode.EMPTY_LIST, (m) => m.push([])],
  [opcode.EMPTY_TUPLE, (m) => m.push([])],
  [opcode.LIST, (m) => m.push(m.popToMark())],
  [opcode.TUPLE, (m) => m.push(m.popToMark())],
  [opcode.TUPLE1, (m) => m.push(m.popSeveral(1))],
  [opcode.TUPLE2, (m) => m.push(m.popSeveral(2))],
  [opcode.TUPLE3, (m) => m.push(m.popSeveral(3))],
  [opcode.APPEND, (m) => m.append(m.popSeveral(1))],
  [opcode.APPENDS, (m) => m.append(m.popToMark())],
  [opcode.EMPTY_DICT, (m) => m.push(new Map())],
  [opcode.DICT, makeDictionary],
  [opcode.SETITEM, (m) => m.setItems(m.popSeveral(2))],
  [opcode.SETITEMS, (m) => m.setItems(m.popToMark())],
  [opcode.EMPTY_SET, (m) => m.push(new Set())],
  [opcode.FROZENSET, (m) => m.push(new Set(m.popToMark()))],
  [opcode.ADDITEMS, (m) => m.addItems(m.popToMark())],

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
    throw machine.damaged(`is of protocol ${protocol}; up to ${MAX_PROTOCOL} are known`);
  }
}

function makeDictionary(machine: PickleMachine): void {
  const items = machine.popToMark();
  machine.push(new Map());
  machine.setItems(items);
}

function resolveFromStack(machine: PickleMachine): void {
  const [module, name] = machine.popSeveral(2);
  if (typeof module !== 'string' || typeof name !== 'string') throw machine.damaged('names what is no name');
  machine.push(machine.vocabulary.resolve(module, name));
}

/** Python writes booleans as the numbers 00 and 01 here. */
function decimal(line: string): number | bigint {
  if (!DECIMAL.test(line))
    throw new CheckpointError(`its pickle holds ${quote(line)} where a number belongs`);
  return narrowed(BigInt(line.replace('L', '').replace('+', '')));
}
