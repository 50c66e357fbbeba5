/** A group of readers of what clients and operators send. */
export interface Target {
  readonly name: string;
  /** Sound inputs to begin with. */
  seeds(): Promise<readonly Uint8Array[]>;
  /** Longer inputs are not made by mutation. */
  readonly maxBytes: number;
  /** Makes checksums right again in place, so that readers look at what lies behind them. */
  readonly repair?: (bytes: Uint8Array) => void;
  /**
   * Reads an input as the product does, and checks what comes out. A refusal that is foreseen is no fault.
   * @throws anything else: a finding
   */
  run(bytes: Uint8Array): void | Promise<void>;
}

/** What the readers may take for an input; what takes more is a finding. */
export const limits = {
  /** Processor time: what the runtime itself needs now and then, and a quarter of a second for a megabyte. */
  cpuMs: (bytes: number) => 50 + bytes / 4000,
  memoryBytes: 100 * 1024 ** 2,
} as const;

/** Something that came out is wrong. */
export function check(isRight: boolean, what: string): asserts isRight {
  if (!isRight) throw new Error(`Wrong: ${what}`);
}

const loaders = {
  headers: async () => (await import('./targets/headers.ts')).headers,
  forms: async () => (await import('./targets/forms.ts')).forms,
  categories: async () => (await import('./targets/categories.ts')).categories,
  checkpoints: async () => (await import('./targets/checkpoints.ts')).checkpoints,
} satisfies Readonly<Record<string, () => Promise<Target>>>;

export type GroupName = keyof typeof loaders;
export const groupNames = Object.keys(loaders) as GroupName[];

/** Loaded late, so that the readers can be instrumented before. */
export async function loadTarget(name: GroupName): Promise<Target> {
  return await loaders[name]();
}
