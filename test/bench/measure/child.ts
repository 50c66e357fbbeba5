import { join } from 'node:path';
import { ownRoot } from '../cache-folder.ts';
import { residentMemory } from '../process/process-usage.ts';

interface Printed<Answer> {
  readonly answer: Answer;
  /** Resident memory. */
  readonly peakBytes: number;
}

export interface ChildAnswer<Answer> extends Printed<Answer> {
  readonly cpuSeconds: number;
}

/** Where these programs are in a checkout. */
const FOLDER = 'test/bench/measure';

/**
 * Runs a program of this folder in a process of its own, so that each measurement starts from the same
 * state and its peak memory is its own.
 * @param input becomes the program's only argument, as JSON
 * @param root the checkout whose program it is
 * @returns what the program gave to `answerParent`, its only output
 */
export async function inChild<Answer>(
  program: string,
  input: unknown,
  root = ownRoot,
): Promise<ChildAnswer<Answer>> {
  const child = Bun.spawn([process.execPath, join(root, FOLDER, program), JSON.stringify(input)], {
    cwd: root,
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const printed = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) throw new Error(`${program} ended with ${code}.`);
  const usage = child.resourceUsage();
  const cpuSeconds = Number(usage?.cpuTime.total ?? Number.NaN) / 1e6;
  return { ...(JSON.parse(printed) as Printed<Answer>), cpuSeconds };
}

/** The other side: what `inChild` gave to this program. */
export function childInput<Input>(): Input {
  return JSON.parse(process.argv[2] ?? '') as Input;
}

export function answerParent<Answer>(answer: Answer): void {
  // Not from the parent's accounting: what it was before it became a program of its own counts there, too.
  const { peakBytes } = residentMemory(process.pid);
  process.stdout.write(JSON.stringify({ answer, peakBytes } satisfies Printed<Answer>));
}
