import { join } from 'node:path';
import { cacheFolder } from '../cache-folder.ts';

/** transformers.js as people install it today. */
const transformersJs = { '@huggingface/transformers': '4.3.1' };

/** Where the peers' packages lie. They are no dependency of ours: nothing outside of this folder knows of them. */
export interface PeerPackages {
  /** A Python with everything of `requirements.txt`. */
  readonly python: string;
  /** The module of transformers.js. */
  readonly transformersJs: string;
}

/**
 * Installs what is missing: about 8 GB, since PyTorch comes with its CUDA libraries.
 * @param python a Python that has all of it already
 * @throws Error saying which command failed, and with what
 */
export async function installPeers(
  python: string | undefined,
  tell: (line: string) => void,
): Promise<PeerPackages> {
  return { python: python ?? (await installPython(tell)), transformersJs: await installTransformersJs(tell) };
}

async function installPython(tell: (line: string) => void): Promise<string> {
  const requirements = join(import.meta.dir, 'requirements.txt');
  const version = Bun.hash(await Bun.file(requirements).text()).toString(36);
  const folder = await cacheFolder('peers', `python-${version}`);
  const python = join(folder, 'bin/python');
  const complete = join(folder, 'complete');
  if (await Bun.file(complete).exists()) return python;
  tell('installing PyTorch and the others with pip (about 8 GB)');
  await run(['python3', '-m', 'venv', '--clear', folder]);
  await run([python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]);
  await Bun.write(complete, '');
  return python;
}

async function installTransformersJs(tell: (line: string) => void): Promise<string> {
  const folder = await cacheFolder('peers', 'transformers-js');
  const description = JSON.stringify({ private: true, dependencies: transformersJs }, null, 2);
  const packageFile = Bun.file(join(folder, 'package.json'));
  const module = join(folder, 'node_modules/@huggingface/transformers');
  const isThere = (await packageFile.exists()) && (await packageFile.text()) === description;
  if (isThere && (await Bun.file(join(module, 'package.json')).exists())) return module;
  tell('installing transformers.js');
  await Bun.write(packageFile, description);
  // Its install scripts would fetch CUDA libraries.
  await run([process.execPath, 'install', '--ignore-scripts', '--silent'], folder);
  return module;
}

/** @throws Error with the command and the end of what it said */
export async function run(command: readonly string[], cwd?: string): Promise<void> {
  const child = Bun.spawn([...command], { ...(cwd && { cwd }), stdout: 'pipe', stderr: 'pipe' });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code === 0) return;
  const said = `${out}\n${err}`.trim().split('\n').slice(-15).join('\n');
  throw new Error(`The peers cannot be measured here: “${command.join(' ')}” ended with ${code}:\n${said}`);
}
