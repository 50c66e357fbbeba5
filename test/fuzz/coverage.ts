import { plugin } from 'bun';
import { type Ids, instrument, RUNTIME_NAME } from './instrument.ts';

const MAXIMUM_COUNTERS = 1 << 15;
/** Levels of likeness of compared values, by probe; several probes may share one. */
const LEVELS = 1 << 17;
const LEVELS_A_PROBE = 64;
/** How often a way was taken, in steps: 1, 2, 3, 4 to 7, … */
const STEPS = 8;
const MAXIMUM_OPERANDS = 64;
/** Comparisons of one input that are looked at: more of them say nothing new, and take long. */
const MAXIMUM_NOTES = 3000;

/** The readers, and the parsers that they hand bytes to (of those with ECMAScript modules). */
const instrumented = /\/(?:src\/(?!page)|node_modules\/csv-parse\/lib\/).*\.(?:ts|m?js)$/;

/** What an input made the instrumented code do. */
export class Coverage {
  readonly ids: Ids = { counters: 0, probes: 0 };
  readonly literals = new Set<string | number>();
  readonly #counters = new Uint8Array(MAXIMUM_COUNTERS);
  readonly #levels = new Uint8Array(LEVELS);
  readonly #reached: number[] = [];
  #notesLeft = MAXIMUM_NOTES;
  /** Values that were compared and differ, as strings or numbers: [the one, the other]. */
  readonly operands: (readonly [string | number, string | number])[] = [];

  constructor() {
    const note = this.#note.bind(this);
    Object.assign(globalThis, {
      [RUNTIME_NAME]: {
        counters: this.#counters,
        equal(probe: number, left: unknown, right: unknown) {
          if (left === right) return true;
          note(probe, left, right);
          return false;
        },
        same(probe: number, left: unknown, right: unknown) {
          // biome-ignore lint/suspicious/noDoubleEquals: it stands for what the instrumented text has
          if (left == right) return true;
          note(probe, left, right);
          return false;
        },
        less(probe: number, left: number, right: number, operator: number) {
          note(probe, left, right);
          if (operator === 0) return left < right;
          if (operator === 1) return left > right;
          return operator === 2 ? left <= right : left >= right;
        },
      },
    });
  }

  /** Instruments modules that are loaded from now on. */
  install(): void {
    const typescript = new Bun.Transpiler({ loader: 'ts', target: 'bun' });
    const { ids, literals } = this;
    plugin({
      name: 'coverage',
      setup: (build) => {
        build.onLoad({ filter: instrumented }, async ({ path }) => {
          const source = await Bun.file(path).text();
          const script = path.endsWith('.ts') ? typescript.transformSync(source) : source;
          const { text, literals: found } = instrument(script, ids);
          for (const literal of found) literals.add(literal);
          return { contents: text, loader: 'js' };
        });
      },
    });
  }

  /** Forgets the last input. */
  reset(): void {
    this.#counters.fill(0, 0, this.ids.counters);
    for (const index of this.#reached) this.#levels[index] = 0;
    this.#reached.length = 0;
    this.operands.length = 0;
    this.#notesLeft = MAXIMUM_NOTES;
  }

  /** Numbers of what happened: ways with their counts, and levels of likeness. */
  features(): number[] {
    const features: number[] = [];
    const counters = this.#counters;
    for (let id = 0; id < this.ids.counters; id++) {
      const count = counters[id]!;
      if (count !== 0) features.push(id * STEPS + stepOf(count));
    }
    for (const index of this.#reached) features.push(MAXIMUM_COUNTERS * STEPS + index);
    return features;
  }

  /** Whether a feature is a way that the code took, at whatever count. */
  static wayOf(feature: number): number | undefined {
    return feature < MAXIMUM_COUNTERS * STEPS ? Math.trunc(feature / STEPS) : undefined;
  }

  #note(probe: number, left: unknown, right: unknown): void {
    if (this.#notesLeft-- <= 0) return;
    let level: number;
    if (typeof left === 'number' && typeof right === 'number') {
      level = 33 - Math.clz32(Math.abs(left - right));
      if (left < right) level += 30;
    } else if (typeof left === 'string' && typeof right === 'string') {
      level = commonPrefix(left, right);
      if (left.length !== right.length) level += 16;
    } else return;
    if (this.operands.length < MAXIMUM_OPERANDS && isShort(left) && isShort(right)) {
      this.operands.push([left, right]);
    }
    const index = (probe * LEVELS_A_PROBE + level) % LEVELS;
    if (this.#levels[index] === 1) return;
    this.#levels[index] = 1;
    this.#reached.push(index);
  }
}

function isShort(value: string | number): boolean {
  return typeof value === 'number' || value.length <= 32;
}

function commonPrefix(left: string, right: string): number {
  let length = 0;
  while (length < 15 && length < left.length && left[length] === right[length]) length += 1;
  return length;
}

function stepOf(count: number): number {
  if (count <= 3) return count - 1;
  if (count < 8) return 3;
  if (count < 16) return 4;
  if (count < 32) return 5;
  return count < 128 ? 6 : 7;
}
