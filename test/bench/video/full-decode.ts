import { availableParallelism } from 'node:os';
import { inChild } from '../measure/child.ts';
import type { FullDecodeInput } from '../measure/full-decode-program.ts';

/** How long it takes to decode all of a video, with all cores. */
export interface FullDecode {
  readonly with: 'ffmpeg' | 'libav';
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** With the `ffmpeg` command where there is one, otherwise with the same library through node-av. */
export async function decodeAll(path: string): Promise<FullDecode> {
  const startedAt = performance.now();
  const elapsed = () => (performance.now() - startedAt) / 1000;
  const ffmpeg = Bun.which('ffmpeg');
  if (ffmpeg === null) {
    const input: FullDecodeInput = { path, threads: availableParallelism() };
    const { cpuSeconds } = await inChild('full-decode-program.ts', input);
    return { with: 'libav', seconds: elapsed(), cpuSeconds };
  }
  const child = Bun.spawn([ffmpeg, '-v', 'error', '-nostdin', '-i', path, '-f', 'null', '-'], {
    stdout: 'ignore',
  });
  if ((await child.exited) !== 0) throw new Error(`ffmpeg cannot decode ${path}.`);
  const cpuMicroseconds = child.resourceUsage()?.cpuTime.total ?? 0n;
  return { with: 'ffmpeg', seconds: elapsed(), cpuSeconds: Number(cpuMicroseconds) / 1e6 };
}
