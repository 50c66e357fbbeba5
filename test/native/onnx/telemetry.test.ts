import { expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '../../clip/graph/compiled.ts';
import { writeProductGraph } from './product-graph.ts';

const sessionModule = join(import.meta.dir, '../../../native/onnx/session.ts');

// Where the library keeps its device id and what it is going to send is known for Linux alone.
test.if(process.platform === 'linux')('the library writes no device id and no report', async () => {
  await using directory = await temporaryDirectory();
  const graphPath = await writeProductGraph(directory.path);
  const home = join(directory.path, 'home');
  await Bun.write(join(home, 'here'), '');

  const script = `
    import { openSession } from ${JSON.stringify(sessionModule)};
    await using session = await openSession(${JSON.stringify(graphPath)}, { threads: 1 });
    const data = new Float32Array(2);
    await session.run({ x: { type: 'float32', dims: [1, 2], data: Float32Array.of(1, 2) } }, { y: { type: 'float32', dims: [1, 2], data } });
    console.log(data.join());
  `;
  // Without CI and without the variable of the container, either of which silences the library as well.
  const child = Bun.spawn([process.execPath, '-e', script], {
    env: { PATH: process.env.PATH, HOME: home, TMPDIR: home, BUN_RUNTIME_TRANSPILER_CACHE_PATH: '0' },
    stdout: 'pipe',
    stderr: 'inherit',
  });
  expect(await new Response(child.stdout).text()).toBe('7,10\n');
  expect(await readdir(home, { recursive: true })).toEqual(['here']);
});
