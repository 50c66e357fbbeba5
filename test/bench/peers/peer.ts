import { dirname, join } from 'node:path';
import { cacheFolder } from '../cache-folder.ts';
import { type PeerPackages, run } from './install.ts';

/** Another program that answers `POST /categorize` from the same weights. */
export interface Peer {
  readonly name: string;
  command(port: number): readonly string[];
}

export interface RunningPeer extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
}

/**
 * Exports the weights for the peers, once.
 * @param checkpointPath safetensors in Hugging Face's layout, its config.json beside it
 * @returns a folder of ONNX graphs for transformers.js
 */
export async function exportedModel(
  checkpointPath: string,
  { python }: PeerPackages,
  tell: (line: string) => void,
): Promise<string> {
  const checkpoint = dirname(checkpointPath);
  if (
    !checkpointPath.endsWith('/model.safetensors') ||
    !(await Bun.file(join(checkpoint, 'config.json')).exists())
  ) {
    throw new Error(
      'The peers read model.safetensors in Hugging Face’s layout with its config.json beside it: give such a one, or --model random.',
    );
  }
  const folder = await cacheFolder('peers', 'onnx', Bun.hash(checkpoint).toString(36));
  const complete = join(folder, 'complete');
  if (await Bun.file(complete).exists()) return folder;
  tell('exporting the weights for transformers.js with PyTorch');
  const vocabulary = join(import.meta.dir, '../../../models/bpe_simple_vocab_16e6.txt.gz');
  await run([python, join(import.meta.dir, 'export-onnx.py'), checkpoint, vocabulary, folder]);
  await Bun.write(complete, '');
  return folder;
}

/**
 * The peers, with the weights in the form that each of them takes.
 * @param checkpointPath safetensors in Hugging Face's layout, its config.json beside it
 * @param exported what `exportedModel` returned
 */
export function peersFor(
  checkpointPath: string,
  exported: string,
  { python, transformersJs }: PeerPackages,
): readonly Peer[] {
  const server = join(import.meta.dir, 'transformers-js-server.ts');
  const dtypes = ['fp32', 'q8', 'int8'] as const;
  return [
    ...dtypes.map((dtype) => ({
      name: `transformers.js ${dtype}`,
      command: (port: number) => [process.execPath, server, transformersJs, exported, dtype, String(port)],
    })),
    {
      name: 'the original’s stack',
      command: (port: number) => [
        python,
        join(import.meta.dir, 'original-server.py'),
        dirname(checkpointPath),
        String(port),
      ],
    },
  ];
}

/** What a peer runs with. None of them may report to its makers or ask a hub. */
export function peerEnvironment(): Readonly<Record<string, string | undefined>> {
  const { PATH, HOME } = process.env;
  return { PATH, HOME, ORT_DISABLE_TELEMETRY: '1', HF_HUB_OFFLINE: '1' };
}

const START_LIMIT_MS = 120_000;

/** Starts a peer and waits until it is ready. */
export async function startPeer({ name, command }: Peer): Promise<RunningPeer> {
  const port = freePort();
  const child = Bun.spawn([...command(port)], {
    env: peerEnvironment(),
    stdout: 'ignore',
    stderr: 'pipe',
  });
  const said = new Response(child.stderr).text();
  const url = `http://127.0.0.1:${port}`;
  const startedAt = performance.now();
  while (!(await isReady(url))) {
    if (child.exitCode !== null)
      throw new Error(`${name} ended before it was ready: ${(await said).slice(-1000)}`);
    if (performance.now() - startedAt > START_LIMIT_MS) {
      child.kill('SIGKILL');
      throw new Error(`${name} was not ready in time: ${(await said).slice(-1000)}`);
    }
    await Bun.sleep(100);
  }
  return {
    url,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await child.exited;
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/ready`)).ok;
  } catch {
    return false;
  }
}

function freePort(): number {
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() });
  const { port } = server;
  server.stop(true);
  return port as number;
}
