import { describe, expect, test } from 'bun:test';
import { basename, join } from 'node:path';
import { manifest, publishedActivation } from '../../../models/manifest.ts';
import {
  displayUrl,
  downloadSources,
  knownSums,
  modelOfSum,
  sourceForPeople,
} from '../../../src/clip/store/search.ts';

const model = manifest[0]!;

describe('the manifest', () => {
  test('asks the documented address of ViT-B/32 first, and others after it', () => {
    expect(model.name).toBe('ViT-B/32');
    expect(model.sources[0]).toMatchObject({ bytes: 353_976_522, layout: 'torchscript' });
    expect(model.sources.map(({ url }) => new URL(url).hostname)).toEqual([
      'openaipublic.azureedge.net',
      'huggingface.co',
      'huggingface.co',
      'huggingface.co',
    ]);
  });

  test.each([...manifest])(
    'keeps every file of $name under a name the search finds',
    ({ fileNames, sources }) => {
      for (const source of sources) {
        expect(fileNames).toContain(source.fileName);
        expect(source.sha256).toMatch(/^[0-9a-f]{64}$/);
        expect(new URL(source.url).protocol).toBe('https:');
        if (source.bytes !== undefined) expect(source.bytes).toBeGreaterThan(300_000_000);
      }
    },
  );

  test('gives no two models a file name, so that none is taken for another', () => {
    const names = manifest.flatMap(({ fileNames }) => fileNames);
    expect(new Set(names).size).toBe(names.length);
  });

  test('gives no two models a sum', () => {
    const sums = manifest.flatMap(knownSums);
    expect(new Set(sums).size).toBe(sums.length);
  });

  test("has all of OpenAI's vision transformers at the addresses of its clip.py", () => {
    const openai = manifest.flatMap(({ name, sources: [first] }) =>
      first?.layout === 'torchscript' ? [{ name, first }] : [],
    );
    expect(openai.map(({ name }) => name)).toEqual(['ViT-B/32', 'ViT-B/16', 'ViT-L/14', 'ViT-L/14@336px']);
    for (const { name, first } of openai) {
      expect(basename(first.url)).toBe(`${name.replaceAll(/[/@]/g, '-')}.pt`);
      expect(first.fileName).toBe(basename(first.url));
      // As the reference does, to know what was downloaded.
      expect(first.url.split('/').at(-2)).toBe(first.sha256);
    }
  });

  test('pins no branch of a host, whose files could change', () => {
    const others = manifest.flatMap(({ sources }) => sources.filter(({ reportedGone }) => !reportedGone));
    expect(others.length).toBeGreaterThanOrEqual(manifest.length);
    for (const { url } of others) expect(url).toMatch(/\/resolve\/[0-9a-f]{40}\//);
  });

  test('is what models/README.md says', async () => {
    const readme = await Bun.file(join(import.meta.dir, '../../../models/README.md')).text();
    for (const { name, sources } of manifest) {
      expect(readme).toContain(`| \`${name}\``);
      for (const { fileName, bytes, sha256 } of sources) {
        expect(readme).toContain(`| \`${fileName}\``);
        expect(readme).toContain(`| ${bytes === undefined ? 'unknown' : bytes.toLocaleString('en')} `);
        expect(readme).toContain(sha256);
      }
    }
  });

  test('knows only the activation of published files', () => {
    const laion = 'CLIP-ViT-B-32-laion2B-s34B-b79K.safetensors';
    expect(publishedActivation('ViT-L-14.pt', 'torchscript')).toBe('quick_gelu');
    expect(publishedActivation('ViT-B-16.bin', 'huggingface')).toBe('quick_gelu');
    expect(publishedActivation(laion, 'state_dict')).toBe('gelu');
    const dataComp = manifest.filter(({ name }) => name.includes('DataComp'));
    expect(dataComp).toHaveLength(4);
    for (const { sources } of dataComp) {
      for (const { fileName } of sources) expect(publishedActivation(fileName, 'state_dict')).toBe('gelu');
    }
    // OpenAI has not published such a file.
    expect(publishedActivation('ViT-L-14.pt', 'state_dict')).toBeUndefined();
    expect(publishedActivation('model.safetensors', 'huggingface')).toBeUndefined();
    expect(publishedActivation('model.pt', 'huggingface')).toBeUndefined();
  });
});

describe('the sources of a download', () => {
  test("are the manifest's", () => {
    expect(downloadSources(model, undefined)).toBe(model.sources);
  });

  test.each([
    ['https://host/ViT-B-32.pt', 'ViT-B-32.pt'],
    ['https://host/path/model.safetensors?download=true', 'model.safetensors'],
    ['https://host/other.safetensors', 'model.safetensors'],
    ['https://host/other.pt', 'model.pt'],
    ['https://host/pytorch_model.bin', 'model.pt'],
    ['https://host/', 'model.pt'],
    ['https://host/%E0%A4', 'model.pt'],
  ])("are only the operator's %s where there is one, kept as %s", (url, fileName) => {
    expect(downloadSources(model, url)).toEqual([{ url, fileName }]);
  });

  test.each([
    ['ViT-B/16', 'https://host/x/pytorch_model.bin', 'ViT-B-16.bin'],
    ['ViT-L/14', 'https://host/x/model.safetensors', 'ViT-L-14.safetensors'],
    ['ViT-L/14@336px', 'https://host/x/weights.pth', 'ViT-L-14-336px.bin'],
    [
      'laion/CLIP-ViT-B-32-laion2B-s34B-b79K',
      'https://host/open_clip_pytorch_model.bin',
      'CLIP-ViT-B-32-laion2B-s34B-b79K.bin',
    ],
  ])("keep %s of the operator's %s under a name of its own, %s", (name, url, fileName) => {
    const asked = manifest.find((candidate) => candidate.name === name)!;
    expect(downloadSources(asked, url)).toEqual([{ url, fileName }]);
  });

  test('that error sentences recommend is not reported gone', () => {
    expect(sourceForPeople(model.sources, model)).toBe(model.sources[1]!);
    const own = downloadSources(model, 'https://host/x.pt');
    expect(sourceForPeople(own, model)).toBe(own[0]!);
    const onlyGone = model.sources.slice(0, 1);
    expect(sourceForPeople(onlyGone, model)).toBe(onlyGone[0]!);
  });
});

test('a sum leads to its model', () => {
  expect(modelOfSum(manifest, model.sources[1]!.sha256)).toBe(model);
  expect(modelOfSum(manifest, '0'.repeat(64))).toBeUndefined();
  expect(knownSums(model)).toHaveLength(3);
});

test('an address is shown without its secrets', () => {
  expect(displayUrl('https://me:secret@host:8443/a/b.pt?token=secret#secret')).toBe(
    'https://host:8443/a/b.pt',
  );
});
