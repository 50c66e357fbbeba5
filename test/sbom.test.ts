import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import * as v from 'valibot';
import packageJson from '../package.json';
import { billOfMaterials, binaryContents, debianComponents, notices } from '../src/sbom.ts';

const root = join(import.meta.dir, '..');

interface Component {
  readonly name: string;
  readonly group?: string | undefined;
  readonly version?: string | undefined;
  readonly purl?: string | undefined;
  readonly components?: readonly Component[] | undefined;
}
const component: v.GenericSchema<Component> = v.looseObject({
  name: v.string(),
  group: v.optional(v.string()),
  version: v.optional(v.string()),
  purl: v.optional(v.string()),
  licenses: v.optional(v.array(v.unknown())),
  components: v.optional(v.array(v.lazy(() => component))),
});
const document = v.looseObject({ components: v.array(component) });

const status = `Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12+deb13u1
Description: GNU C Library
 Version: in the description

Package: passwd
Status: install ok installed
Architecture: amd64
Version: 1:4.17.4-2

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1
`;
const release = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n';

const bom = billOfMaterials(debianComponents(status, release));
const { components } = v.parse(document, bom);
const named = (name: string) =>
  components.find((it) => (it.group ? `${it.group}/${it.name}` : it.name) === name);

const schema = async (name: string): Promise<object> =>
  JSON.parse(
    String(
      Buffer.from(
        Bun.gunzipSync(await Bun.file(join(root, `test/fixtures/cyclonedx/${name}.schema.json.gz`)).bytes()),
      ),
    ),
  );

test('is a CycloneDX document by the schema of CycloneDX', async () => {
  const ajv = new Ajv({ strict: false, validateFormats: true });
  addFormats(ajv);
  // Of internationalised names, which ajv-formats does not know.
  ajv.addFormat('iri-reference', true).addFormat('idn-email', true);
  ajv.addSchema(await schema('spdx'), 'http://cyclonedx.org/schema/spdx.SNAPSHOT.schema.json');
  ajv.addSchema(await schema('jsf-0.82'), 'http://cyclonedx.org/schema/jsf-0.82.SNAPSHOT.schema.json');
  const validate = ajv.compile(await schema('bom-1.6'));
  validate(bom);
  expect(validate.errors ?? []).toEqual([]);
  // A licence that SPDX does not know is a fault.
  validate({
    ...(bom as object),
    components: [{ type: 'library', name: 'a', licenses: [{ license: { id: 'BSD' } }] }],
  });
  expect(validate.errors).not.toBeNull();
});

test('has every package that is there, and says which of them the service uses', async () => {
  const there = new Bun.Glob('{*,@*/*}/package.json').scan({ cwd: join(root, 'node_modules') });
  for await (const path of there) {
    const name = path.replace('/package.json', '');
    // Another name of a version of a compiler.
    if (name !== 'typescript-5') expect([name, named(name) !== undefined]).toEqual([name, true]);
  }
  for (const [name, version] of Object.entries(packageJson.dependencies)) {
    expect(named(name)).toMatchObject({ version, scope: 'required' });
  }
  for (const name of ['@biomejs/biome', 'fast-check'])
    expect(named(name)).toMatchObject({ scope: 'excluded' });
  expect(named('bun')?.version).toBe(packageJson.devDependencies['bun-types']);
});

test('names what is inside the binaries as lists of vulnerabilities do', () => {
  const inside = (name: string) => named(name)?.components ?? [];
  expect(inside('node-av')).toContainEqual(
    expect.objectContaining({ name: 'ffmpeg', cpe: 'cpe:2.3:a:ffmpeg:ffmpeg:8.1:*:*:*:*:*:*:*' }),
  );
  expect(inside('@napi-rs/image')).toContainEqual(
    expect.objectContaining({ name: 'png', purl: 'pkg:cargo/png@0.18.1' }),
  );
  expect(inside('onnxruntime-node').map(({ name }) => name)).toContain('protobuf');
  expect(inside('bun').map(({ name }) => name)).toContain('webkit');
});

test('has the packages of the system that are installed', () => {
  const system = components.filter(({ purl }) => purl?.startsWith('pkg:deb/'));
  expect(system.map(({ purl }) => purl)).toEqual([
    'pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=trixie',
    'pkg:deb/debian/passwd@1%3A4.17.4-2?arch=amd64&distro=trixie',
  ]);
});

test('is the same each time', () => {
  expect(JSON.stringify(billOfMaterials(debianComponents(status, release)))).toBe(JSON.stringify(bom));
});

test('every licence is named, and an expression has known words', () => {
  const all = Object.values(binaryContents).flatMap(({ libraries }) => libraries);
  expect(all.length).toBeGreaterThan(100);
  for (const { licence, address } of all) {
    expect(licence).toMatch(/^[\w.-]+(?: (?:AND|OR) [\w.-]+)*$/);
    expect(address).toStartWith('https://');
  }
});

/** Where a binary package of a native library is, if there is one for this machine. */
const binary = (name: string) => join(root, 'node_modules', name);
const libav = binary(`@seydx/node-av-linux-${process.arch}/node-av.node`);
const image = binary(`@napi-rs/image-linux-${process.arch}-gnu/image.linux-${process.arch}-gnu.node`);

test.if(await Bun.file(libav).exists())('libav has the libraries that its configuration names', () => {
  const asked = Bun.spawnSync([
    process.execPath,
    '-e',
    'const { getFFmpegInfo } = await import("node-av"); console.log(JSON.stringify(getFFmpegInfo()))',
  ]);
  const { version, configuration } = v.parse(
    v.looseObject({ version: v.string(), configuration: v.string() }),
    JSON.parse(String(asked.stdout)),
  );
  const libraries = binaryContents['node-av']?.libraries ?? [];
  expect(libraries.find(({ name }) => name === 'ffmpeg')?.version).toBe(version);
  const otherNames: Readonly<Record<string, string>> = {
    ...{
      ffnvcodec: 'nv-codec-headers',
      libmp3lame: 'lame',
      libsvtav1: 'svt-av1',
      lzma: 'xz',
      vaapi: 'libva',
    },
    ...{ opencl: 'opencl-icd-loader', vulkan: 'vulkan-headers', whisper: 'whisper.cpp', alsa: 'alsa-lib' },
  };
  // Of FFmpeg itself, or of drivers that are looked for when they are needed.
  const own = ['gpl', 'version3', 'lto', 'cuda', 'cuda-llvm', 'cuvid', 'nvdec', 'nvenc', 'v4l2', 'xcbgrab'];
  const enabled = [...configuration.matchAll(/--enable-(?:indev=)?([\w-]+)/g)].map(([, name = '']) => name);
  const expected = enabled.filter((name) => !own.includes(name)).map((name) => otherNames[name] ?? name);
  const plain = (name: string) => name.replace(/^lib/, '');
  const listed = libraries.map(({ name }) => plain(name));
  expect(expected.length).toBeGreaterThan(30);
  expect(expected.filter((name) => !listed.includes(plain(name)))).toEqual([]);
  // Its licence is the strictest of its parts.
  expect(configuration).toContain('--enable-gpl --enable-version3');
});

test.if(await Bun.file(image).exists())(
  'the picture library has the crates whose sources its binary names',
  async () => {
    const text = await readFile(image, 'latin1');
    const inBinary = new Set(
      [...text.matchAll(/registry\/src\/[^/]+\/([\w-]+)-(\d+\.\d+\.\d+)\//g)].map(
        ([, name, version]) => `${name}@${version}`,
      ),
    );
    const listed =
      binaryContents['@napi-rs/image']?.libraries.map(({ name, version }) => `${name}@${version}`) ?? [];
    expect(inBinary.size).toBeGreaterThan(30);
    expect([...inBinary].filter((crate) => !listed.includes(crate))).toEqual([]);
  },
);

test('the notices name everything, with the licence texts that packages carry', () => {
  const text = notices();
  for (const name of Object.keys(packageJson.dependencies)) expect(text).toContain(`    ${name} `);
  for (const { libraries } of Object.values(binaryContents)) {
    for (const { name, licence } of libraries)
      expect(text).toMatch(new RegExp(`    ${RegExp.escape(name)} .*\\(${RegExp.escape(licence)}\\)`));
  }
  expect(text).toContain('Permission is hereby granted');
});
