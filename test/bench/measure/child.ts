import { join } from 'node:path';

export interface ChildAnswer<Answer> {
  readonly answer: Answer;
  readonly peakBytes: number;
  readonly cpuSeconds: number;
}

/**
 * Runs a program of this folder in a process of its own, so that each measurement starts from the same
 * state and its peak memory is its own.
 * @param input becomes the program's only argument, as JSON
 * @returns what the program printed, which must be JSON
 */
export async function inChild<Answer>(program: string, input: unknown): Promise<ChildAnswer<Answer>> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, program), JSON.stringify(input)], {
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const printed = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) throw new Error(`${program} ended with ${code}.`);
  const usage = child.resourceUsage();
  return {
    answer: JSON.parse(printed) as Answer,
    peakBytes: usage?.maxRSS ?? Number.NaN,
    cpuSeconds: Number(usage?.cpuTime.total ?? Number.NaN) / 1e6,
  };
}

/** The other side: what `inChild` gave to this program. */
export function childInput<Input>(): Input {
  return JSON.parse(process.argv[2] ?? '') as Input;
}

export function answerParent(answer: unknown): void {
  process.stdout.write(JSON.stringify(answer));
}
