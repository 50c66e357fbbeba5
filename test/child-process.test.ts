import { describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChildLimits, limitedCommand } from '../src/child-process.ts';
import { childEnvironment } from '../src/config.ts';

const MEBI = 1024 ** 2;

/** Runs a program in a child. @returns what it printed, and how it ended */
async function run(program: string, limits: ChildLimits) {
  const folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  try {
    const path = join(folder, 'program.ts');
    await Bun.write(path, program);
    const child = Bun.spawn(limitedCommand(path, limits), {
      env: childEnvironment(),
      stdout: 'pipe',
      stderr: 'ignore',
    });
    const output = await child.stdout.text();
    await child.exited;
    return { output, signal: child.signalCode };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe.if(process.platform === 'linux')('a child process', () => {
  test('gets no more memory than it may have', async () => {
    const fill = `
      let mebibytes = 0;
      const held = [];
      try {
        for (; mebibytes < 4000; mebibytes += 50) held.push(new Uint8Array(${50 * MEBI}));
      } catch {}
      console.log(mebibytes);`;
    const { output } = await run(fill, { memoryBytes: 400 * MEBI });
    expect(Number(output)).toBeGreaterThanOrEqual(400);
    // It may use what the runtime has reserved, too, but there is an end.
    expect(Number(output)).toBeLessThan(4000);
  });

  test('is ended when its processor time is used up', async () => {
    const { output, signal } = await run('console.log("begun"); for (;;);', {
      memoryBytes: 400 * MEBI,
      cpuSeconds: 1,
    });
    expect(output).toBe('begun\n');
    expect(signal).toBe('SIGKILL');
  });

  test('gets only the necessary environment variables', () => {
    const given = {
      PATH: '/bin',
      API_KEY: 'secret-key',
      CLIP_MODEL_URL: 'https://user:password@host/',
      TMPDIR: '/tmp',
    };
    expect(childEnvironment(given)).toEqual({ PATH: '/bin', TMPDIR: '/tmp' });
  });
});
