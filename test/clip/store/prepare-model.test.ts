import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { access, copyFile, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type ManifestModel, manifest } from '../../../models/manifest.ts';
import { BUILDER_VERSION, type CompiledModel } from '../../../src/clip/graph/compiled-model.ts';
import type { LoadingProgress } from '../../../src/clip/store/loading-progress.ts';
import { ModelStoreError } from '../../../src/clip/store/model-store-error.ts';
import { prepareModel } from '../../../src/clip/store/prepare-model.ts';
import type { StoreOptions } from '../../../src/clip/store/store-context.ts';
import type { Config } from '../../../src/config.ts';
import { smallWeights } from '../checkpoint/checkpoint-maker.ts';
import { safetensors } from '../checkpoint/safetensors-writer.ts';
import { fastTimings } from './fast-timings.ts';
import { dropAfter, honest, page, serveFile } from './file-server.ts';
import { recordingLog } from './recording-log.ts';
import { temporaryFolder } from './temporary-folder.ts';

// Processes are started here, and others may be running: five seconds are not always enough.
setDefaultTimeout(60_000);

const golden = join(import.meta.dir, '../../golden');
let tiny: Uint8Array;
let tinySum: string;

beforeAll(async () => {
  tiny = Bun.gunzipSync(await readFile(join(golden, 'clip-tiny.pt.gz')));
  tinySum = createHash('sha256').update(tiny).digest('hex');
});

interface Setting extends Partial<Pick<StoreOptions, 'compileChildPath' | 'temporaryParent' | 'models'>> {
  readonly name?: string;
  readonly cache?: string;
  readonly url?: string;
  readonly precision?: Config['model']['precision'];
  readonly usual?: readonly string[];
}

/** One attempt, with what it said on the way. */
function attempt({ name = 'ViT-B/32', cache, url, precision = 'fp32', usual = [], ...rest }: Setting) {
  const log = recordingLog();
  const steps: LoadingProgress[] = [];
  const options: StoreOptions = {
    model: { name, cacheDirectory: cache, url, precision, demoFallback: false },
    log,
    usualDirectories: usual,
    terminal: null,
    timings: fastTimings,
    ...rest,
  };
  const outcome = prepareModel(options, (step) => steps.push(step), new AbortController().signal);
  return { outcome, log, stages: () => [...new Set(steps.map(({ stage }) => stage))] };
}

async function prepare(setting: Setting) {
  const { outcome, log, stages } = attempt(setting);
  const model: CompiledModel = await outcome;
  return { model, log, stages: stages() };
}

async function prepareInVain(setting: Setting): Promise<ModelStoreError> {
  const { outcome } = attempt(setting);
  const failure: unknown = await outcome.then(
    () => undefined,
    (error) => error,
  );
  if (failure instanceof ModelStoreError) return failure;
  throw new Error('it did not fail as it should', { cause: failure });
}

/** The manifest, with the tiny checkpoint in the place of the real one. */
function tinyManifest(...urls: string[]): readonly ManifestModel[] {
  const [model] = manifest;
  const source = {
    bytes: tiny.length,
    sha256: tinySum,
    layout: 'torchscript',
    fileName: 'ViT-B-32.pt',
  } as const;
  return [{ ...model!, sources: urls.map((url) => ({ ...source, url })) }];
}

function folderOf(sum: string): string {
  return `${sum.slice(0, 16)}-fp32-v${BUILDER_VERSION}`;
}

describe('a model', () => {
  test('is downloaded, verified and compiled; the next start takes what is there', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(tiny, dropAfter(2 ** 20), honest);
    const setting = { cache: folder.path, models: tinyManifest(server.url) };

    const first = await prepare(setting);
    expect(first.model).toMatchObject({ name: 'ViT-B/32', sha256: tinySum, precision: 'fp32' });
    expect(first.stages).toEqual(['searching', 'downloading', 'verifying', 'compiling']);
    expect(dirname(first.model.visionGraphPath)).toBe(join(folder.path, 'compiled', folderOf(tinySum)));

    const second = await prepare(setting);
    expect(second.model).toEqual(first.model);
    // Not even hashed again: that would tell of bytes.
    expect(second.stages).toEqual(['searching', 'verifying']);
    expect(server.requests).toHaveLength(2);
    expect(second.log.lines).toEqual([]);
  });

  test('that CLIP_MODEL names by its path is compiled beside it, or in CLIP_CACHE where that is set', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'mine.pt');
    await writeFile(path, tiny);
    const beside = await prepare({ name: path });
    expect(beside.model.name).toBe('mine.pt');
    expect(dirname(dirname(beside.model.visionGraphPath))).toBe(join(folder.path, 'compiled'));

    // What lies beside the checkpoint is good enough.
    const cache = join(folder.path, 'cache');
    expect((await prepare({ name: path, cache })).model).toEqual(beside.model);
    await rm(join(folder.path, 'compiled'), { recursive: true });
    const cached = await prepare({ name: path, cache });
    expect(dirname(dirname(cached.model.visionGraphPath))).toBe(join(cache, 'compiled'));
  });

  test('in the layout of Hugging Face is taken, too', async () => {
    await using folder = await temporaryFolder();
    const safetensors = Bun.gunzipSync(await readFile(join(golden, 'clip-tiny.safetensors.gz')));
    await writeFile(join(folder.path, 'model.safetensors'), safetensors);
    const { model } = await prepare({ usual: [folder.path] });
    expect(model.architecture.embeddingDimension).toBe(64);
    expect(model.name).toBe('model.safetensors');
  });

  test('from an address of the operator gives a warning with its sum, unless that is a known one', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(tiny, honest);
    const unknown = await prepare({ cache: join(folder.path, 'a'), url: server.url });
    expect(unknown.model.sha256).toBe(tinySum);
    expect(unknown.log.text('warn')).toContain(`"sha256":"${tinySum}","expected":["40d365715913c9da`);

    const models = tinyManifest('http://127.0.0.1:1/');
    const known = await prepare({ cache: join(folder.path, 'b'), url: server.url, models });
    expect(known.model.name).toBe('ViT-B/32');
    expect(known.log.text('warn')).toBe('');
  });

  test('called demo needs no file, and is compiled once', async () => {
    await using folder = await temporaryFolder();
    const first = await prepare({ name: 'demo', cache: folder.path });
    expect(first.model.name).toBe('demo');
    expect(first.stages).toEqual(['searching', 'compiling']);
    const second = await prepare({ name: 'demo', usual: ['/proc/none', folder.path] });
    expect(second.model).toEqual(first.model);
    expect(second.stages).toEqual(['searching']);
  });
});

describe('a found checkpoint', () => {
  test('with an unknown sum is used with a warning that has both', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const { model, log } = await prepare({ usual: [folder.path] });
    expect(model.name).toBe('ViT-B-32.pt');
    expect(log.text('warn')).toContain(tinySum);
    expect(log.text('warn')).toContain(manifest[0]!.sources[0]!.sha256);
  });

  test.each([
    ['is empty', () => new Uint8Array()],
    ['is no checkpoint', () => new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\n')],
    ['is cut short', () => tiny.subarray(0, tiny.length / 2)],
  ])('that %s is named, and not downloaded over', async (_name, content) => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(tiny, honest);
    const path = join(folder.path, 'model.pt');
    await writeFile(path, content());
    const failure = await prepareInVain({ cache: folder.path, models: tinyManifest(server.url) });
    expect(failure).toMatchObject({ fault: 'checkpoint_unsound', retryable: true });
    expect(failure.message).toStartWith(`The checkpoint ${path} cannot be used: `);
    expect(server.requests).toHaveLength(0);
    expect((await readFile(path)).equals(content())).toBe(true);
  });

  test('with weights that are not finite is named', async () => {
    await using folder = await temporaryFolder();
    const safetensors = Bun.gunzipSync(await readFile(join(golden, 'clip-tiny.safetensors.gz')));
    // The last weights of the file, whichever they are.
    safetensors.fill(0xff, safetensors.length - 8);
    const path = join(folder.path, 'model.safetensors');
    await writeFile(path, safetensors);
    const failure = await prepareInVain({ cache: folder.path });
    expect(failure).toMatchObject({ fault: 'checkpoint_unsound' });
    expect(failure.message).toMatch(
      /^The checkpoint .*model\.safetensors cannot be used: .* not finite\. Replace/,
    );
  });

  test('whose config.json asks for another activation is compiled anew', async () => {
    await using folder = await temporaryFolder();
    const safetensors = Bun.gunzipSync(await readFile(join(golden, 'clip-tiny.safetensors.gz')));
    await writeFile(join(folder.path, 'model.safetensors'), safetensors);
    const first = await prepare({ cache: folder.path });
    expect(first.model.architecture.activation).toBe('quick_gelu');
    const tower = { hidden_act: 'gelu' };
    const config = { vision_config: tower, text_config: tower };
    await writeFile(join(folder.path, 'config.json'), JSON.stringify(config));
    const second = await prepare({ cache: folder.path });
    expect(second.model.architecture.activation).toBe('gelu');
    expect(second.stages).toContain('compiling');
  });

  test('whose activation nobody tells is used with a warning that says what was assumed', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'model.safetensors');
    await writeFile(path, Bun.gunzipSync(await readFile(join(golden, 'clip-tiny.safetensors.gz'))));
    const { log } = await prepare({ cache: folder.path });
    expect(log.text('warn')).toContain("OpenAI's QuickGELU is assumed");
    await writeFile(join(folder.path, 'config.json'), '{"vision_config":{},"text_config":{}}');
    expect((await prepare({ cache: folder.path })).log.text('warn')).not.toContain('assumed');
  });

  test('of another model than was asked for is used with a warning that names both', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-16.pt'), tiny);
    const models = [...tinyManifest('http://127.0.0.1:1/'), ...manifest.slice(1)];
    const { model, log } = await prepare({ name: 'ViT-B/16', cache: folder.path, models });
    expect(model.name).toBe('ViT-B/32');
    expect(log.text('warn')).toContain('"asked":"ViT-B/16","found":"ViT-B/32"');
  });

  test('with the vocabulary of another tokenizer is refused', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'small.safetensors');
    await writeFile(path, safetensors(smallWeights()));
    const failure = await prepareInVain({ name: path });
    expect(failure).toMatchObject({ fault: 'checkpoint_unsound' });
    expect(failure.message).toStartWith(`The checkpoint ${path} cannot be used: it knows 11 tokens, `);
    expect(failure.message).toContain('which has 49408');
  });

  test('that was replaced is compiled anew, under its own sum', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'model.pt');
    await writeFile(path, tiny);
    const first = await prepare({ name: path });
    const other = Bun.gunzipSync(await readFile(join(golden, 'clip-tiny.safetensors.gz')));
    await writeFile(path, other);
    const second = await prepare({ name: path });
    expect(second.model.sha256).not.toBe(first.model.sha256);
    expect(second.model.visionGraphPath).not.toBe(first.model.visionGraphPath);
  });

  test('that has got another name is not compiled again', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'one.pt'), tiny);
    const first = await prepare({ name: join(folder.path, 'one.pt') });
    await copyFile(join(folder.path, 'one.pt'), join(folder.path, 'two.pt'));
    const second = await prepare({ name: join(folder.path, 'two.pt') });
    expect(second.stages).not.toContain('compiling');
    expect(second.model).toEqual({ ...first.model, name: 'two.pt' });
  });
});

describe('a compiled model', () => {
  test('that is damaged is compiled anew with a warning', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const first = await prepare({ cache: folder.path });
    await truncate(first.model.visionGraphPath, 10);
    const second = await prepare({ cache: folder.path });
    expect(second.model).toEqual(first.model);
    expect(second.stages).toContain('compiling');
    expect(second.log.text('warn')).toContain('cannot be used and is compiled anew');
  });

  test('goes to a temporary folder with a warning where its own cannot be written, and stays there', async () => {
    await using folder = await temporaryFolder();
    await using temporary = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    // A file where the folder should be: even a superuser cannot write below it.
    await writeFile(join(folder.path, 'compiled'), '');
    const setting = { usual: [folder.path], temporaryParent: temporary.path };
    const first = await prepare(setting);
    expect(first.model.visionGraphPath).toStartWith(join(temporary.path, 'classify-images-'));
    expect(first.log.text('warn')).toContain(`${join(folder.path, 'compiled')} cannot be written`);
    const second = await prepare(setting);
    expect(second.model).toEqual(first.model);
    expect(second.stages).not.toContain('compiling');
  });

  test('goes to a temporary folder where the disk is full', async () => {
    await using folder = await temporaryFolder();
    await using temporary = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const compileChildPath = join(folder.path, 'child.ts');
    const real = join(import.meta.dir, '../../../src/clip/store/compile-child.ts');
    const said = { kind: 'failed', fault: 'storage', message: 'no space left on device', errno: 'ENOSPC' };
    await writeFile(
      compileChildPath,
      `if (JSON.parse(process.argv[2]).directory.startsWith(${JSON.stringify(folder.path)})) {
         console.log(${JSON.stringify(JSON.stringify(said))});
       } else await import(${JSON.stringify(real)});`,
    );
    const { model, log } = await prepare({
      usual: [folder.path],
      temporaryParent: temporary.path,
      compileChildPath,
    });
    expect(model.visionGraphPath).toStartWith(temporary.path);
    expect(log.text('warn')).toContain('is full');
    expect(await readdir(join(folder.path, 'compiled'))).toEqual([expect.stringMatching(/sha256\.json$/)]);
  });

  test('that fits nowhere is an error about the disk', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    await writeFile(join(folder.path, 'compiled'), '');
    const failure = await prepareInVain({ usual: [folder.path], temporaryParent: '/proc/none' });
    expect(failure).toMatchObject({ fault: 'storage_failed', retryable: true });
  });

  test('whose process was killed is an error, and leaves nothing behind', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const compileChildPath = join(folder.path, 'child.ts');
    await writeFile(compileChildPath, `process.kill(process.pid, 'SIGKILL'); await Bun.sleep(60_000);`);
    const failure = await prepareInVain({ usual: [folder.path], compileChildPath });
    expect(failure).toMatchObject({ fault: 'compile_failed' });
    expect(failure.message).toContain('SIGKILL');
    expect(await readdir(join(folder.path, 'compiled'))).toHaveLength(1);
  });

  test('is cleaned of what a crash left behind at a later start, although nothing is compiled then', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    await prepare({ cache: folder.path });
    const leftover = join(
      folder.path,
      'compiled',
      `${folderOf(tinySum)}.00000000-0000-4000-8000-000000000000.tmp`,
    );
    await mkdir(leftover);
    const { stages } = await prepare({ cache: folder.path });
    expect(stages).not.toContain('compiling');
    await expect(access(leftover)).rejects.toThrow('ENOENT');
  });

  test('is the same for services that start at once', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const both = await Promise.all([prepare({ cache: folder.path }), prepare({ cache: folder.path })]);
    expect(both[0].model).toEqual(both[1].model);
    expect(await readdir(join(folder.path, 'compiled'))).toContain(folderOf(tinySum));
    expect(await readdir(join(folder.path, 'compiled'))).toHaveLength(2);
  });
});

describe('a precision', () => {
  test('that is left to the service is chosen once by comparing both, and told with its reasons', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const first = await prepare({ cache: folder.path, precision: 'auto' });
    expect(first.model.precision).toBe('int8');
    expect(first.model.precisionReport).toMatchObject({ accepted: true, pictures: { count: 98 } });
    expect(first.log.text('info')).toContain('int8 answers as fp32 does, and is used');
    expect(first.log.text('info')).toContain('"meanCosine":');

    const second = await prepare({ cache: folder.path, precision: 'auto' });
    expect(second.model).toEqual(first.model);
    expect(second.stages).not.toContain('compiling');
  });

  test('that was asked for is what is compiled, beside what was compiled before', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ViT-B-32.pt'), tiny);
    const fp32 = await prepare({ cache: folder.path, precision: 'fp32' });
    const int8 = await prepare({ cache: folder.path, precision: 'int8' });
    expect(int8.model.precision).toBe('int8');
    expect(int8.model.precisionReport?.accepted).toBe(true);
    expect((await prepare({ cache: folder.path, precision: 'fp32' })).model).toEqual(fp32.model);
  });

  test('of the demo model is fp32 without a comparison, unless it was asked for', async () => {
    await using folder = await temporaryFolder();
    const auto = await prepare({ name: 'demo', cache: folder.path, precision: 'auto' });
    expect(auto.model.precision).toBe('fp32');
    expect(auto.model.precisionReport).toBeUndefined();
    const int8 = await prepare({ name: 'demo', cache: folder.path, precision: 'int8' });
    expect(int8.model.precision).toBe('int8');
  });
});

describe('settings that cannot work', () => {
  test('an unknown name lists the known ones', async () => {
    const failure = await prepareInVain({ name: 'RN50' });
    expect(failure).toMatchObject({ fault: 'model_unknown', retryable: false });
  });

  test('no source at all is an error that says what to put where', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(tiny, page(404));
    const failure = await prepareInVain({ cache: folder.path, models: tinyManifest(server.url) });
    expect(failure).toMatchObject({ fault: 'download_failed', retryable: true });
    expect(failure.message).toContain(join(folder.path, 'ViT-B-32.pt'));
  });
});
