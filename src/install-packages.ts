/**
 * Installs the packages of package.json before a command needs them: all, or with `--only-to-run` only those of the
 * service. A long installation is announced on standard error, because standard output is for answers.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dir, '..');
const onlyToRun = process.argv.includes('--only-to-run');
const flags = onlyToRun ? ['--production'] : [];
const sample = onlyToRun ? 'onnxruntime-node' : '@biomejs/biome';
const isFirst = !existsSync(join(root, 'node_modules', sample));
if (isFirst) {
  const what = onlyToRun
    ? 'the packages that the service needs (600 MB on disk)'
    : 'the packages that development and tests need (870 MB on disk in all)';
  console.error(`Installing ${what}. This happens once and takes half a minute on a fast line.`);
}
const stdio = isFirst ? 2 : 'pipe';
let installed = install();
if (installed.exitCode !== 0 && !isFirst) {
  // Service accounts often have no home folder, where the installer wants to write its cache.
  const cache = mkdtempSync(join(tmpdir(), 'packages-'));
  installed = install('--cache-dir', cache);
  rmSync(cache, { recursive: true, force: true });
}
if (installed.exitCode !== 0) {
  if (installed.stderr) console.error(installed.stderr.toString());
  console.error(
    'The packages cannot be installed. Check the connection to the package registry, then try again.',
  );
  process.exit(1);
}
if (isFirst) console.error('Installed.');

function install(...more: readonly string[]) {
  const command = [process.execPath, 'install', '--frozen-lockfile', '--no-summary', ...flags, ...more];
  return Bun.spawnSync(command, { cwd: root, stdin: 'ignore', stdout: stdio, stderr: stdio });
}
