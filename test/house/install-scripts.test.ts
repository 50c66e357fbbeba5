import { expect, test } from 'bun:test';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import packageJson from '../../package.json';

const root = join(import.meta.dir, '../..');
const manifestSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ scripts: v.optional(v.record(v.string(), v.string()), {}) }),
);
const installScripts = ['preinstall', 'install', 'postinstall'];

/** Installed packages that would run a script when they are installed, by their folder. */
async function packagesWithScripts(): Promise<readonly string[]> {
  const patterns = ['node_modules/*/package.json', 'node_modules/@*/*/package.json'];
  const paths = patterns.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(root)]);
  const found = await Promise.all(
    paths.map(async (path) => {
      const { scripts } = v.parse(manifestSchema, await Bun.file(join(root, path)).text());
      return installScripts.some((name) => name in scripts) ? [dirname(path)] : [];
    }),
  );
  return found.flat().toSorted();
}

// Bun runs the scripts of some packages unasked, and one of them reports the installation to its makers.
test('no package runs a script while it is installed', async () => {
  expect(packageJson.trustedDependencies).toEqual([]);
  const untrusted = Bun.spawn([process.execPath, 'pm', 'untrusted'], {
    cwd: root,
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [listed, withScripts] = await Promise.all([untrusted.stdout.text(), packagesWithScripts()]);
  expect(await untrusted.exited).toBe(0);
  expect([...listed.matchAll(/^\.\/(\S+) @/gm)].map(([, path = '']) => path).toSorted()).toEqual([
    ...withScripts,
  ]);
  expect(withScripts).toContain('node_modules/@scarf/scarf');
});
