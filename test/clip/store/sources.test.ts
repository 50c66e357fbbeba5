import { describe, expect, test } from 'bun:test';
import { basename } from 'node:path';
import { manifest } from '../../../models/manifest.ts';
import {
  displayUrl,
  downloadSources,
  knownSums,
  modelOfSum,
  sourceForPeople,
} from '../../../src/clip/store/sources.ts';

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
      }
    },
  );

  test('has the sum of the documented file in its address, as the reference does', () => {
    const { url, sha256, fileName } = model.sources[0]!;
    expect(url.split('/').at(-2)).toBe(sha256);
    expect(basename(url)).toBe(fileName);
  });

  test('pins no branch of a host, whose files could change', () => {
    for (const { url } of model.sources.slice(1)) expect(url).toMatch(/\/resolve\/[0-9a-f]{40}\//);
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

  test('that a person is told about is not one reported gone', () => {
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
