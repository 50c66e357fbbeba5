import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A folder for one test, removed after it. */
export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
  /** Writes files, by path within the folder. */
  write(files: Readonly<Record<string, string | Uint8Array>>): Promise<void>;
  /** All files with their content, hidden ones included, by path within the folder, sorted. */
  read(): Promise<Record<string, string>>;
  at(...path: string[]): string;
}

export async function temporaryFolder(parent = tmpdir()): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(parent, 'classify-images-test-'));
  return {
    path,
    async write(files) {
      for (const [name, content] of Object.entries(files)) {
        await mkdir(dirname(join(path, name)), { recursive: true });
        await writeFile(join(path, name), content);
      }
    },
    async read() {
      const entries = await readdir(path, { recursive: true, withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile());
      const found: [string, string][] = await Promise.all(
        files.map(async (entry) => {
          const file = join(entry.parentPath, entry.name);
          return [file.slice(path.length + 1), await readFile(file, 'latin1')];
        }),
      );
      return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
    },
    at: (...names) => join(path, ...names),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}
