import { CheckpointError, quote } from './checkpoint-error.ts';
import { PickleCursor } from './pickle-cursor.ts';
import { PickleGlobal, PickleObject, type PickleValue } from './pickle-value.ts';

/** What the names and references of a pickle mean. */
export interface PickleVocabulary {
  /** @throws CheckpointError for every name that is not known to be harmless */
  resolve(module: string, name: string): PickleGlobal;
  /** What a persistent id refers to. @throws CheckpointError where it refers to nothing */
  load(id: PickleValue): PickleValue;
}

/** The stack, the marks and the memo that a pickle works on. Every method checks what it takes. */
export class PickleMachine {
  readonly cursor: PickleCursor;
  readonly vocabulary: PickleVocabulary;
  readonly #stack: PickleValue[] = [];
  /** Heights of the stack at which marks stand. */
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

  /** Takes the mark where one is on top, as CPython does, else a value. */
  discard(): void {
    if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
    else this.pop();
  }

  popSeveral(count: number): PickleValue[] {
    const start = this.#stack.length - count;
    if (start < this.#floor) throw this.damaged('takes from an empty stack');
    return this.#stack.splice(start);
  }

  popToMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.damaged('misses a mark');
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
    if (!Array.isArray(list)) throw this.damaged('appends to what is no list');
    for (const item of items) list.push(item);
  }

  addItems(items: readonly PickleValue[]): void {
    const set = this.top();
    if (!(set instanceof Set)) throw this.damaged('adds to what is no set');
    for (const item of items) set.add(item);
  }

  setItems(items: readonly PickleValue[]): void {
    const dictionary = this.top();
    if (!(dictionary instanceof Map)) throw this.damaged('sets items of what is no dictionary');
    if (items.length % 2 !== 0) throw this.damaged('sets a key without a value');
    for (let i = 0; i < items.length; i += 2) dictionary.set(items[i]!, items[i + 1]!);
  }

  /** Stands for calling or instantiating a name: the vocabulary describes what would come of it. */
  make(): void {
    const [callable, operands] = this.popSeveral(2);
    if (!(callable instanceof PickleGlobal)) throw this.damaged('calls what is no name');
    if (!Array.isArray(operands)) throw this.damaged(`calls ${quote(callable.name)} without operands`);
    const made = callable.make(operands);
    if (made === undefined) throw this.damaged(`calls ${quote(callable.name)}, which is only a name`);
    this.push(made);
  }

  build(): void {
    const state = this.pop();
    const object = this.top();
    // An OrderedDict's attributes; PyTorch keeps its modules' version numbers there.
    if (object instanceof Map) return;
    if (object instanceof PickleObject && object.build(state)) return;
    throw this.damaged('gives state to a plain value');
  }

  damaged(what: string): CheckpointError {
    return new CheckpointError(
      `its pickle ${what} (before byte ${this.cursor.position}): damaged, or not PyTorch's`,
    );
  }

  /** What lies under the last mark is out of reach. */
  get #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }
}
