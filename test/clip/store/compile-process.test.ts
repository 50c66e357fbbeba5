import { describe, expect, test } from 'bun:test';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CompileJob,
  compileChildPath,
  compileInChild,
} from '../../../src/clip/store/compile-process.ts';
import { temporaryFolder } from './temporary-folder.ts';

const never = new AbortController().signal;
const job: CompileJob = {
  checkpointPath: '/models/a.pt',
  name: 'a.pt',
  sha256: 'ab',
  precision: 'fp32',
  directory: '/cache/compiled/a.tmp',
};

/** Runs a program in the place of the one that compiles. */
async function compileWith(program: string, signal = never) {
  await using folder = await temporaryFolder();
  const childPath = join(folder.path, 'child.ts');
  await writeFile(childPath, program);
  const percents: number[] = [];
  const failure = await compileInChild(job, childPath, (percent) => percents.push(percent), signal).then(
    () => undefined,
    (error) => error,
  );
  return { percents, failure };
}

const say = (message: object) => `console.log(${JSON.stringify(JSON.stringify(message))});`;

describe('the process that compiles', () => {
  test('gets the job, reports progress, and finishes', async () => {
    const { percents, failure } = await compileWith(`
      const job = JSON.parse(process.argv[2]);
      if (job.checkpointPath !== '/models/a.pt') process.exit(9);
      ${say({ kind: 'progress', percent: 10 })}
      console.log('a stray line of some library');
      ${say({ kind: 'progress', percent: 60 })}
      ${say({ kind: 'done' })}`);
    expect(failure).toBeUndefined();
    expect(percents).toEqual([10, 60]);
  });

  test('is heard however its words are cut into pieces', async () => {
    const { percents, failure } = await compileWith(`
      const text = '{"kind":"progress","percent":7}\\n{"kind":"done"}\\n';
      for (const letter of text) { process.stdout.write(letter); await Bun.sleep(1); }`);
    expect(failure).toBeUndefined();
    expect(percents).toEqual([7]);
  });

  test('blames the checkpoint, which is named', async () => {
    const message = 'The checkpoint /models/a.pt cannot be used: it is empty.';
    const { failure } = await compileWith(say({ kind: 'failed', fault: 'checkpoint', message }));
    expect(failure).toMatchObject({ name: 'ModelStoreError', fault: 'checkpoint_unsound', retryable: true });
    expect(failure.message).toBe(
      'The checkpoint /models/a.pt cannot be used: it is empty. Replace or remove it.',
    );
  });

  test('blames a full disk', async () => {
    const said = { kind: 'failed', fault: 'storage', message: 'no space left', errno: 'ENOSPC' };
    const { failure } = await compileWith(say(said));
    expect(failure).toMatchObject({ fault: 'storage_full' });
    expect(failure.message).toContain('/cache/compiled');
  });

  test('blames a folder', async () => {
    const said = { kind: 'failed', fault: 'storage', message: 'read-only file system', errno: 'EROFS' };
    expect((await compileWith(say(said))).failure).toMatchObject({ fault: 'storage_failed' });
  });

  test('admits that it is its own fault', async () => {
    const { failure } = await compileWith(
      say({ kind: 'failed', fault: 'internal', message: 'x is undefined' }),
    );
    expect(failure).toMatchObject({ fault: 'compile_failed' });
    expect(failure.message).toContain('x is undefined');
  });

  test('that is killed is said to be, with the usual reason', async () => {
    const { failure } = await compileWith(`process.kill(process.pid, 'SIGKILL'); await Bun.sleep(60_000);`);
    expect(failure).toMatchObject({ fault: 'compile_failed', retryable: true });
    expect(failure.message).toBe(
      'The process that compiles the model ended with signal SIGKILL. The system usually does that when memory runs out.',
    );
  });

  test.each([0, 3])('that ends with code %d without a last word has failed', async (code) => {
    const { failure } = await compileWith(`${say({ kind: 'progress', percent: 99 })} process.exit(${code});`);
    expect(failure).toMatchObject({ fault: 'compile_failed' });
    expect(failure.message).toContain(`exit code ${code}`);
  });

  test('is killed when its signal is aborted', async () => {
    const controller = new AbortController();
    const running = compileWith(`setInterval(() => {}, 1000);`, controller.signal);
    await Bun.sleep(100);
    controller.abort(new Error('shutting down'));
    expect((await running).failure.message).toBe('shutting down');
  });

  test('ends with the process that started it', async () => {
    await using folder = await temporaryFolder();
    const demo = { name: 'demo', sha256: 'ab'.repeat(32), precision: 'fp32', directory: folder.path };
    // Standard input is at its end, as it is for a child whose parent was killed.
    const child = Bun.spawn([process.execPath, compileChildPath, JSON.stringify(demo)], { stdin: 'ignore' });
    expect(await child.stdout.text()).not.toContain('done');
    expect(await child.exited).toBe(1);
  });

  test('is not started if its signal is already aborted', async () => {
    const { failure } = await compileWith('', AbortSignal.abort(new Error('left')));
    expect(failure.message).toBe('left');
  });
});
