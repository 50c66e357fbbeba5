import { describe, expect, test } from 'bun:test';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { manifest } from '../../../models/manifest.ts';
import { smallWeights } from '../checkpoint/checkpoint-maker.ts';
import { safetensors } from '../checkpoint/safetensors-writer.ts';
import { dropAfter, honest, page, serveFile } from './file-server.ts';
import { folderOf, golden, prepare, prepareInVain, tiny, tinyManifest, tinySum } from './preparing.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('a model', () => {
  test('is downloaded, verified and compiled; the next start takes what is there', async () => {
    await using folder = await temporaryFolder();
    await using server = await serveFile(tiny, dropAfter(2 ** 20, folder.path), honest);
    const setting = { cache: folder.path, models: tinyManifest(server.url) };

    const first = await prepare(setting);
    expect(first.model).toMatchObject({ name: 'ViT-B/32', sha256: tinySum, precision: 'fp32' });
    expect(first.stages).toEqual(['searching', 'downloading', 'verifying', 'compiling']);
    expect(dirname(first.model.visionGraphPath)).toBe(join(folder.path, 'compiled', folderOf(tinySum)));

    const second = await prepare(setting);
    expect(second.model).toEqual(first.model);
    // Hashing again would report bytes.
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

    // The folder beside the checkpoint is used.
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
    ['is not a checkpoint', () => new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\n')],
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

  test('of unknown activation is used with a warning that names the assumption', async () => {
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
