import { describe, expect, test } from 'bun:test';
import { dirname, join, normalize } from 'node:path';

const root = join(import.meta.dir, '../..');
const transpiler = new Bun.Transpiler({ loader: 'ts' });

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Modules that exist at run time; `import type` is erased and does not count. */
  readonly imports: readonly string[];
  /** Every module named, `import type` included. */
  readonly names: readonly string[];
}

const files: readonly SourceFile[] = await Promise.all(
  [...new Bun.Glob('{src,native,models}/**/*.ts').scanSync(root)].sort().map(async (path) => {
    const text = await Bun.file(join(root, path)).text();
    const resolve = (name: string) => (name.startsWith('.') ? normalize(join(dirname(path), name)) : name);
    return {
      path,
      text,
      imports: transpiler.scanImports(text).map((found) => resolve(found.path)),
      names: [...text.matchAll(/^(?:import|export)\b[^;]*?\bfrom '([^']+)'/gm)].map((m) =>
        resolve(m[1] as string),
      ),
    };
  }),
);

/** Files under `from` that name a module matching `to`, each as `file → module`. */
function edges(from: RegExp, to: RegExp, which: 'imports' | 'names' = 'names'): string[] {
  return files
    .filter(({ path }) => from.test(path))
    .flatMap((file) => file[which].filter((name) => to.test(name)).map((name) => `${file.path} → ${name}`));
}

describe('the rooms', () => {
  test('there are files to look at', () => {
    expect(files.length).toBeGreaterThan(30);
    expect(edges(/^src\/main\.ts$/, /^src\//).length).toBeGreaterThan(2);
  });

  const nativePackages: readonly [library: RegExp, room: RegExp][] = [
    [/^onnxruntime-node/, /^native\/onnx\//],
    [/^@napi-rs\/image/, /^native\/image\//],
    [/^node-av/, /^native\/av\//],
  ];
  for (const [library, room] of nativePackages) {
    test(`only ${room.source} imports ${library.source}`, () => {
      expect(edges(/./, library).filter((edge) => !room.test(edge))).toEqual([]);
    });
  }

  test('only native/image uses Bun.Image', () => {
    const users = files.filter(({ text }) => /\bnew Bun\.Image\b/.test(text)).map(({ path }) => path);
    expect(users.filter((path) => !path.startsWith('native/image/'))).toEqual([]);
  });

  test('only config.ts reads the environment', () => {
    const readers = files.filter(({ text }) => /\b(?:process|Bun)\.env\b/.test(text)).map(({ path }) => path);
    expect(readers).toEqual(['src/config.ts']);
  });

  test('only classify/decide compares a score with the rules of a question', () => {
    const comparison = /[<>]=? *\(?(?:\w+\.)*threshold\b|\bscore(?:\)|\w|\.)* [<>]=? /;
    const deciding = files.filter(({ text }) => comparison.test(text)).map(({ path }) => path);
    expect(deciding.filter((path) => !path.startsWith('src/clip/'))).toEqual(['src/classify/decide.ts']);
  });

  test('the service and the command line never load libav: it works in child processes', () => {
    const imports = new Map(files.map((file) => [file.path, file.imports]));
    const loaded = new Set<string>();
    const load = (path: string) => {
      if (loaded.has(path)) return;
      loaded.add(path);
      for (const next of imports.get(path) ?? []) load(next);
    };
    for (const program of ['src/main.ts', 'src/cli/main.ts', 'src/evaluate/main.ts']) load(program);
    expect(loaded.size).toBeGreaterThan(100);
    expect([...loaded].filter((path) => path.startsWith('node-av'))).toEqual([]);
  });

  const forbidden: readonly [room: string, from: RegExp, to: RegExp, which: 'imports' | 'names'][] = [
    ['native knows no domain', /^native\//, /^(?:src|models)\//, 'names'],
    [
      'clip knows neither media nor HTTP, and of classify only how scores are computed',
      /^src\/clip\//,
      /^(?:src\/(?:media|classify(?!\/decide\.ts)|http)\/|elysia)/,
      'names',
    ],
    ['clip knows only ONNX of the native rooms', /^src\/clip\//, /^native\/(?!onnx\/)/, 'names'],
    [
      'reading checkpoints knows no ONNX',
      /^src\/clip\/checkpoint\//,
      /^(?:native\/|src\/clip\/graph\/)/,
      'names',
    ],
    [
      'building graphs knows neither files of the store nor sessions',
      /^src\/clip\/graph\//,
      /^(?:native\/|src\/clip\/store\/)/,
      'names',
    ],
    [
      'media knows neither clip nor classify nor HTTP',
      /^src\/media\//,
      /^(?:src\/(?:clip|classify|http)\/|native\/onnx\/|elysia)/,
      'names',
    ],
    [
      'classify knows neither HTTP nor native packages',
      /^src\/classify\//,
      /^(?:src\/http\/|native\/|elysia)/,
      'names',
    ],
    ['models are data', /^models\//, /^(?:src|native)\//, 'names'],
    [
      'the contract knows only leaves and what the model and the use cases are called',
      /^src\/contract\//,
      /^(?:native\/|models\/|src\/(?:http|page|cli|media)\/)/,
      'names',
    ],
    [
      'the page knows only the contract, how an answer is decided, and which categories mean the same',
      /^src\/page\//,
      /^(?:native\/|models\/|src\/(?!page\/|contract\/|classify\/(?:decide|synonyms)\.ts|(?:csv-cell|file-names)\.ts))/,
      'names',
    ],
    [
      'the command line and the evaluation never reach into http',
      /^src\/(?:cli|evaluate)\//,
      /^src\/http\//,
      'names',
    ],
    ['only the evaluation knows itself', /^src\/(?!evaluate\/)/, /^src\/evaluate\//, 'names'],
    [
      'the store knows neither the tokenizer nor the encoders',
      /^src\/clip\/store\//,
      /^src\/clip\/(?!store\/|graph\/|checkpoint\/|precision\/|demo\/|architecture\.ts|family\.ts)/,
      'names',
    ],
    [
      'comparing precisions knows neither the store nor the encoders',
      /^src\/clip\/precision\//,
      /^src\/clip\/(?:store\/|\w+-encoder\.ts|encoders\.ts|batcher\.ts)/,
      'names',
    ],
    [
      'what is of one model family is reached through the family',
      /^src\/(?!clip\/(?:clip-)?family\.ts|clip\/(?:tokenizer|checkpoint)\/)/,
      /^src\/clip\/(?:clip-family\.ts|preprocessing\.ts|tokenizer\/|graph\/(?:text|vision)-graph\.ts|checkpoint\/(?:clip-checkpoint|open-clip-config)\.ts)/,
      'imports',
    ],
    ['http sees no pixels and no tensors', /^src\/http\//, /^(?:native\/|src\/(?:clip|media)\/)/, 'names'],
    [
      'http knows of the classifier only its types, and how an answer is decided',
      /^src\/http\//,
      /^src\/classify\/(?!decide\.ts)/,
      'imports',
    ],
    [
      'deciding an answer knows only the types of the contract',
      /^src\/classify\/decide\.ts$/,
      /./,
      'imports',
    ],
    [
      'finding categories that mean the same knows only how they are compared',
      /^src\/classify\/synonyms\.ts$/,
      /^(?!src\/classify\/decide\.ts$)/,
      'names',
    ],
    [
      'leaf modules import nothing of ours but leaves',
      /^src\/(?:config|csv-cell|errors|file-names|garbage|log|memory-plan|precision|semaphore|turns|work-context)\.ts$/,
      /^(?:src\/(?!(?:log|memory-plan|precision)\.ts)|native\/|models\/)/,
      'names',
    ],
  ];
  for (const [rule, from, to, which] of forbidden) {
    test(rule, () => {
      expect(edges(from, to, which)).toEqual([]);
    });
  }

  test('no module imports itself, directly or around a corner, for its types neither', () => {
    const imports = new Map(files.map((file) => [file.path, file.names]));
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (path: string, trail: readonly string[]) => {
      if (trail.includes(path)) {
        cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
        return;
      }
      if (done.has(path)) return;
      for (const next of imports.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    for (const { path } of files) visit(path, []);
    expect(cycles).toEqual([]);
  });
});
