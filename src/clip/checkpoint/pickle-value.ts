/** What a pickle can describe to this reader. Lists and tuples are arrays, dictionaries are Maps. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | PickleObject
  | PickleGlobal;

/** Base of the objects that a pickle's globals describe. */
export abstract class PickleObject {
  /**
   * Takes the state that a pickle gives to an object after making it.
   * @returns false where objects of this kind take none
   */
  build(_state: PickleValue): boolean {
    return false;
  }
}

/** A name in a pickle, standing for a description of ours: nothing by that name is ever imported or run. */
export class PickleGlobal {
  readonly name: string;
  readonly #make: ((operands: readonly PickleValue[]) => PickleValue) | undefined;

  /** @param make what stands for calling or instantiating it; undefined where it is only a name */
  constructor(name: string, make?: (operands: readonly PickleValue[]) => PickleValue) {
    this.name = name;
    this.#make = make;
  }

  /** @returns undefined where the name cannot be called */
  make(operands: readonly PickleValue[]): PickleValue | undefined {
    return this.#make?.(operands);
  }
}
