/**
 * Describes what is installed here, for scanners and for licence checks:
 *
 *     bun src/sbom.ts [--system]     a CycloneDX document on standard output
 *     bun src/sbom.ts --notices      names, licences and licence texts of all third parties, as text
 *
 * Components are the packages of bun.lock that are there, the libraries inside their binaries, Bun with its own
 * libraries, and with `--system` the packages of a Debian system. The image has both files.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import lock from '../bun.lock';
import packageJson from '../package.json';

const root = join(import.meta.dir, '..');

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** A library, with an SPDX expression of its licence. */
interface Library {
  readonly name: string;
  /** As the binary tells it; not all do. */
  readonly version?: string | undefined;
  readonly licence: string;
  readonly address: string;
}

/** Where Rust's packages are. */
const CRATES = 'https://crates.io/crates/';

/**
 * What the packages' binaries contain. Their makers list it nowhere in one place, so these lists were taken from the
 * binaries (configuration, versions and source paths inside) and from the projects' own licence files. They are for
 * one version of the package: another version is an error, until somebody has looked again.
 */
export const binaryContents: Readonly<Record<string, { version: string; libraries: readonly Library[] }>> = {
  'node-av': { version: '6.1.1', libraries: librariesOfAv() },
  'onnxruntime-node': { version: '1.30.0', libraries: librariesOfOnnxRuntime() },
  '@napi-rs/image': { version: '1.15.0', libraries: librariesOfImage() },
};

function library(name: string, licence: string, address: string, version?: string): Library {
  return { name, licence, address, version };
}

function librariesOfAv(): readonly Library[] {
  return [
    library('ffmpeg', 'GPL-3.0-or-later', 'https://github.com/jellyfin/jellyfin-ffmpeg', '8.1-Jellyfin'),
    library('alsa-lib', 'LGPL-2.1-or-later', 'https://github.com/alsa-project/alsa-lib'),
    library('amf', 'MIT', 'https://github.com/GPUOpen-LibrariesAndSDKs/AMF'),
    library('brotli', 'MIT', 'https://github.com/google/brotli'),
    library('chromaprint', 'LGPL-2.1-or-later', 'https://github.com/acoustid/chromaprint'),
    library('dav1d', 'BSD-2-Clause', 'https://code.videolan.org/videolan/dav1d'),
    library('fdk-aac', 'FDK-AAC', 'https://gitlab.freedesktop.org/wtaymans/fdk-aac-stripped'),
    library('fftw', 'GPL-2.0-or-later', 'https://github.com/FFTW/fftw3', '3.3.11'),
    library('fontconfig', 'HPND-sell-variant', 'https://gitlab.freedesktop.org/fontconfig/fontconfig'),
    library('freetype', 'FTL OR GPL-2.0-only', 'https://gitlab.freedesktop.org/freetype/freetype'),
    library('fribidi', 'LGPL-2.1-or-later', 'https://github.com/fribidi/fribidi'),
    library('gmp', 'LGPL-3.0-or-later OR GPL-2.0-or-later', 'https://gmplib.org'),
    library('harfbuzz', 'MIT-Modern-Variant', 'https://github.com/harfbuzz/harfbuzz'),
    library('highway', 'Apache-2.0 OR BSD-3-Clause', 'https://github.com/google/highway'),
    library('lame', 'LGPL-2.0-or-later', 'https://lame.sourceforge.io', '3.101b3'),
    library('lcms2', 'MIT', 'https://github.com/mm2/Little-CMS'),
    library('libass', 'ISC', 'https://github.com/libass/libass'),
    library('libbluray', 'LGPL-2.1-or-later', 'https://code.videolan.org/videolan/libbluray', '1.4.1'),
    library('libdrm', 'MIT', 'https://gitlab.freedesktop.org/mesa/drm'),
    library('libiconv', 'LGPL-2.1-or-later', 'https://www.gnu.org/software/libiconv'),
    library('libjxl', 'BSD-3-Clause', 'https://github.com/libjxl/libjxl'),
    library('libogg', 'BSD-3-Clause', 'https://github.com/xiph/ogg'),
    library('libopenmpt', 'BSD-3-Clause', 'https://lib.openmpt.org'),
    library('libplacebo', 'LGPL-2.1-or-later', 'https://code.videolan.org/videolan/libplacebo'),
    library('libtheora', 'BSD-3-Clause', 'https://github.com/xiph/theora', '1.2.0'),
    library('libudfread', 'LGPL-2.1-or-later', 'https://code.videolan.org/videolan/libudfread', '1.2.0'),
    library('libva', 'MIT', 'https://github.com/intel/libva'),
    library('libvorbis', 'BSD-3-Clause', 'https://github.com/xiph/vorbis', '1.3.7'),
    library('libvpl', 'MIT', 'https://github.com/intel/libvpl'),
    library('libvpx', 'BSD-3-Clause', 'https://chromium.googlesource.com/webm/libvpx', '1.15.2'),
    library('libwebp', 'BSD-3-Clause', 'https://chromium.googlesource.com/webm/libwebp'),
    library('libxcb', 'X11', 'https://gitlab.freedesktop.org/xorg/lib/libxcb'),
    library('libxml2', 'MIT', 'https://gitlab.gnome.org/GNOME/libxml2'),
    library('nv-codec-headers', 'MIT', 'https://github.com/FFmpeg/nv-codec-headers'),
    library('opencl-icd-loader', 'Apache-2.0', 'https://github.com/KhronosGroup/OpenCL-ICD-Loader'),
    library('openssl', 'Apache-2.0', 'https://github.com/openssl/openssl', '3.4.3'),
    library('opus', 'BSD-3-Clause', 'https://github.com/xiph/opus'),
    library('shaderc', 'Apache-2.0', 'https://github.com/google/shaderc'),
    library('spirv-cross', 'Apache-2.0', 'https://github.com/KhronosGroup/SPIRV-Cross'),
    library('srt', 'MPL-2.0', 'https://github.com/Haivision/srt'),
    library('svt-av1', 'BSD-3-Clause-Clear', 'https://gitlab.com/AOMediaCodec/SVT-AV1'),
    library('vulkan-headers', 'Apache-2.0 OR MIT', 'https://github.com/KhronosGroup/Vulkan-Headers'),
    library('whisper.cpp', 'MIT', 'https://github.com/ggml-org/whisper.cpp'),
    library('x264', 'GPL-2.0-or-later', 'https://code.videolan.org/videolan/x264'),
    library('x265', 'GPL-2.0-or-later', 'https://bitbucket.org/multicoreware/x265_git'),
    library('xz', '0BSD', 'https://github.com/tukaani-project/xz'),
    library('zimg', 'WTFPL', 'https://github.com/sekrit-twc/zimg'),
    library('zlib', 'Zlib', 'https://github.com/madler/zlib'),
    library('zvbi', 'GPL-2.0-or-later', 'https://github.com/zapping-vbi/zvbi', '0.2.44'),
  ];
}

function librariesOfOnnxRuntime(): readonly Library[] {
  return [
    { name: 'abseil-cpp', licence: 'Apache-2.0', address: 'https://github.com/abseil/abseil-cpp' },
    {
      name: 'cpp_client_telemetry',
      licence: 'Apache-2.0',
      address: 'https://github.com/microsoft/cpp_client_telemetry',
    },
    { name: 'cpuinfo', licence: 'BSD-2-Clause', address: 'https://github.com/pytorch/cpuinfo' },
    { name: 'dawn', licence: 'BSD-3-Clause', address: 'https://dawn.googlesource.com/dawn' },
    { name: 'eigen', licence: 'MPL-2.0', address: 'https://gitlab.com/libeigen/eigen' },
    { name: 'flatbuffers', licence: 'Apache-2.0', address: 'https://github.com/google/flatbuffers' },
    { name: 'gsl', licence: 'MIT', address: 'https://github.com/microsoft/GSL' },
    { name: 'json', licence: 'MIT', address: 'https://github.com/nlohmann/json' },
    { name: 'mp11', licence: 'BSL-1.0', address: 'https://github.com/boostorg/mp11' },
    { name: 'onnx', licence: 'Apache-2.0', address: 'https://github.com/onnx/onnx' },
    { name: 'protobuf', licence: 'BSD-3-Clause', address: 'https://github.com/protocolbuffers/protobuf' },
    { name: 're2', licence: 'BSD-3-Clause', address: 'https://github.com/google/re2' },
    { name: 'safeint', licence: 'MIT', address: 'https://github.com/dcleblanc/SafeInt' },
    { name: 'spirv-tools', licence: 'Apache-2.0', address: 'https://github.com/KhronosGroup/SPIRV-Tools' },
    { name: 'sqlite', licence: 'blessing', address: 'https://sqlite.org' },
  ];
}

function librariesOfImage(): readonly Library[] {
  const crates: Readonly<Record<string, readonly string[]>> = {
    'MIT OR Apache-2.0': [
      ...[
        'arrayvec@0.7.8',
        'base64@0.23.1',
        'crossbeam-deque@0.8.8',
        'crossbeam-epoch@0.9.21',
        'data-url@0.3.2',
      ],
      ...['fast_image_resize@6.1.0', 'fdeflate@0.3.7', 'flate2@1.1.10', 'gif@0.14.2', 'hashbrown@0.17.1'],
      ...['image@0.25.10', 'image-webp@0.2.4', 'indexmap@2.14.2', 'memmap2@0.9.11', 'num_cpus@1.17.0'],
      ...['once_cell@1.21.4', 'png@0.18.1', 'rayon@1.12.0', 'rayon-core@1.13.0', 'read-fonts@0.41.0'],
      ...['resvg@0.48.1', 'roxmltree@0.20.0', 'roxmltree@0.21.1', 'simplecss@0.2.2', 'skrifa@0.44.0'],
      ...['smallvec@1.16.1', 'svgtypes@0.16.1', 'unicode-bidi@0.3.18', 'unicode-script@0.5.8', 'usvg@0.48.1'],
      'weezl@0.1.12',
    ],
    MIT: [
      ...[
        'fax@0.2.7',
        'fontdb@0.24.0',
        'harfrust@0.12.0',
        'imagesize@0.15.0',
        'napi@3.12.6',
        'oxipng@10.2.1',
      ],
      ...['rexif@0.7.5', 'tiff@0.11.3', 'xmlwriter@0.1.0'],
    ],
    'Zlib OR Apache-2.0 OR MIT': ['bytemuck@1.25.2', 'tinyvec@1.13.3', 'zune-core@0.5.3', 'zune-jpeg@0.5.15'],
    Zlib: ['lodepng@3.12.2', 'slotmap@1.1.1', 'zlib-rs@0.6.8'],
    'BSD-3-Clause': ['tiny-skia@0.12.0', 'tiny-skia-path@0.12.0'],
    'BSD-2-Clause': ['libavif@0.14.0'],
    'Apache-2.0': ['libdeflater@1.26.0'],
    'IJG AND Zlib AND BSD-3-Clause': ['mozjpeg-sys@2.2.3'],
  };
  return [
    ...Object.entries(crates).flatMap(([licence, names]) =>
      names.map((crate): Library => {
        const [name = '', version] = crate.split('@');
        return { name, version, licence, address: `${CRATES}${name}` };
      }),
    ),
    {
      name: 'libaom',
      version: '3.11.0',
      licence: 'BSD-2-Clause',
      address: 'https://aomedia.googlesource.com/aom',
    },
    { name: 'libavif-c', licence: 'BSD-2-Clause', address: 'https://github.com/AOMediaCodec/libavif' },
    { name: 'libdeflate', licence: 'MIT', address: 'https://github.com/ebiggers/libdeflate' },
    { name: 'libwebp', licence: 'BSD-3-Clause', address: 'https://chromium.googlesource.com/webm/libwebp' },
    {
      name: 'mozjpeg',
      licence: 'IJG AND Zlib AND BSD-3-Clause',
      address: 'https://github.com/mozilla/mozjpeg',
    },
    { name: 'rust-std', licence: 'MIT OR Apache-2.0', address: 'https://github.com/rust-lang/rust' },
  ];
}

/** The libraries inside the Bun that runs this, in the versions that it tells itself. */
function librariesOfBun(): readonly Library[] {
  const versions: Readonly<Record<string, string | undefined>> = process.versions;
  const linked = (name: string, licence: string, address: string, key = name): Library =>
    library(name, licence, address, versions[key]);
  return [
    linked('webkit', 'LGPL-2.1-or-later AND BSD-2-Clause', 'https://github.com/oven-sh/WebKit'),
    linked('base64', 'BSD-2-Clause', 'https://github.com/aklomp/base64'),
    linked('boringssl', 'Apache-2.0 AND ISC AND OpenSSL', 'https://boringssl.googlesource.com/boringssl'),
    linked('brotli', 'MIT', 'https://github.com/google/brotli'),
    linked('c-ares', 'MIT', 'https://github.com/c-ares/c-ares', 'ares'),
    linked('highway', 'Apache-2.0 OR BSD-3-Clause', 'https://github.com/google/highway'),
    linked('icu', 'Unicode-3.0', 'https://github.com/unicode-org/icu'),
    linked('libarchive', 'BSD-2-Clause', 'https://github.com/libarchive/libarchive'),
    linked('libdeflate', 'MIT', 'https://github.com/ebiggers/libdeflate'),
    linked(
      'libjpeg-turbo',
      'IJG AND Zlib AND BSD-3-Clause',
      'https://github.com/libjpeg-turbo/libjpeg-turbo',
    ),
    linked('libspng', 'BSD-2-Clause', 'https://github.com/randy408/libspng'),
    linked('libuv', 'MIT', 'https://github.com/libuv/libuv', 'uv'),
    linked('libwebp', 'BSD-3-Clause', 'https://chromium.googlesource.com/webm/libwebp'),
    linked('llhttp', 'MIT', 'https://github.com/nodejs/llhttp'),
    linked('lol-html', 'BSD-3-Clause', 'https://github.com/cloudflare/lol-html', 'lolhtml'),
    linked('ls-hpack', 'MIT', 'https://github.com/litespeedtech/ls-hpack', 'lshpack'),
    linked('ls-qpack', 'MIT', 'https://github.com/litespeedtech/ls-qpack'),
    linked('lsquic', 'MIT AND BSD-3-Clause', 'https://github.com/litespeedtech/lsquic'),
    linked('mimalloc', 'MIT', 'https://github.com/microsoft/mimalloc'),
    linked('picohttpparser', 'MIT OR Artistic-1.0-Perl', 'https://github.com/h2o/picohttpparser'),
    linked('simdutf', 'Apache-2.0 OR MIT', 'https://github.com/simdutf/simdutf'),
    linked('sqlite', 'blessing', 'https://sqlite.org'),
    linked('tinycc', 'LGPL-2.1-only', 'https://github.com/tinycc/tinycc'),
    linked('usockets', 'Apache-2.0', 'https://github.com/uNetworking/uSockets'),
    linked('uwebsockets', 'Apache-2.0', 'https://github.com/uNetworking/uWebSockets'),
    linked('zlib-ng', 'Zlib', 'https://github.com/zlib-ng/zlib-ng', 'zlib'),
    linked('zstd', 'BSD-3-Clause OR GPL-2.0-only', 'https://github.com/facebook/zstd'),
  ];
}

/** A package of the lockfile that is installed here. */
interface InstalledPackage {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  readonly folder: string;
  /** Hexadecimal SHA-512 of the archive that the registry sent. */
  readonly sha512: string;
  /** Keys of the packages that it needs. */
  readonly needs: readonly string[];
  /** What its binary contains. */
  readonly libraries: readonly Library[];
}

/** The licence of a package whose package.json has none. */
const NOT_STATED = 'not stated';

interface Needs {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly optionalPeers?: readonly string[];
}

/** The names in a key of the lockfile: `@a/b/c` is `c` as `@a/b` sees it. */
export const namesIn = (key: string): readonly string[] => key.match(/@[^/]+\/[^/]+|[^/]+/g) ?? [];

/**
 * @param key of the package in the lockfile
 * @param info what it needs
 * @returns the keys of the packages that it gets when it imports them
 */
export function resolveNeeds(key: string, info: Needs): readonly string[] {
  const outer = namesIn(key);
  const needed = { ...info.dependencies, ...info.optionalDependencies, ...info.peerDependencies };
  const names = Object.keys(needed).filter((name) => !info.optionalPeers?.includes(name));
  return names.flatMap((name) => {
    for (let depth = outer.length; depth >= 0; depth--) {
      const candidate = [...outer.slice(0, depth), name].join('/');
      if (candidate in lock.packages) return [candidate];
    }
    return [];
  });
}

/**
 * The packages of the lockfile that are there, by their keys in it. Others are for another platform, or were left out:
 * the image has no tools of development.
 * @throws {Error} if the contents of a package's binary are listed for another version
 */
function installedPackages(): ReadonlyMap<string, InstalledPackage> {
  const found = new Map<string, InstalledPackage>();
  for (const [key, [id, , info, integrity]] of Object.entries(lock.packages)) {
    const folder = join(root, 'node_modules', namesIn(key).join('/node_modules/'));
    if (typeof info !== 'object' || integrity === undefined || !existsSync(folder)) continue;
    const [, name = '', version = ''] = /^(.+)@(.+)$/.exec(id) ?? [];
    const contents = binaryContents[name];
    if (contents && contents.version !== version) {
      throw new Error(
        `src/sbom.ts lists what ${name} ${contents.version} contains, but ${version} is installed. Look what that contains, and change the list.`,
      );
    }
    const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    found.set(key, {
      ...{ name, version, folder, needs: resolveNeeds(key, info) },
      licence: v.parse(v.object({ license: v.optional(v.string(), NOT_STATED) }), manifest).license,
      sha512: Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex'),
      libraries: contents?.libraries ?? [],
    });
  }
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The keys of the packages that the service can reach. The others are there, but nothing imports them. */
function reachable(packages: ReadonlyMap<string, InstalledPackage>): ReadonlySet<string> {
  const reached = new Set<string>();
  const queue = [...resolveNeeds('', packageJson)];
  for (const key of queue) {
    const installed = packages.get(key);
    if (!installed || reached.has(key)) continue;
    reached.add(key);
    queue.push(...installed.needs);
  }
  return reached;
}

/** One SPDX identifier or an expression of several. */
function licencesOf(licence: string): Json {
  if (licence === NOT_STATED) return [{ license: { name: licence } }];
  return [licence.includes(' ') ? { expression: licence } : { license: { id: licence } }];
}

/** Who makes the libraries that client data reaches and that have had most faults, as lists of vulnerabilities say. */
const vendors: Readonly<Record<string, string>> = {
  ffmpeg: 'ffmpeg',
  libvpx: 'webmproject',
  openssl: 'openssl',
};

/** The name of a library in lists of vulnerabilities (CPE 2.3). */
function cpeOf({ name, version }: Library): { readonly cpe?: string } {
  const [vendor, number] = [vendors[name], /^[\d.]+/.exec(version ?? '')?.[0]];
  if (vendor === undefined || number === undefined) return {};
  return { cpe: `cpe:2.3:a:${vendor}:${name}:${number}:*:*:*:*:*:*:*` };
}

/** A component that only exists inside the one with the reference `within`. */
const libraryComponent = (within: string, library: Library): Json => {
  const { name, version, licence, address } = library;
  return {
    type: 'library',
    'bom-ref': `${within}#${name}${version === undefined ? '' : `@${version}`}`,
    name,
    ...(version === undefined ? {} : { version }),
    licenses: licencesOf(licence),
    ...cpeOf(library),
    ...(address.startsWith(CRATES) ? { purl: `pkg:cargo/${name}@${version}` } : {}),
    externalReferences: [{ type: 'website', url: address }],
  };
};

const npmReference = ({ name, version }: InstalledPackage): string =>
  `pkg:npm/${name.replace('@', '%40')}@${version}`;

const npmComponent = (installed: InstalledPackage, scope: 'required' | 'excluded'): Json => {
  const reference = npmReference(installed);
  const [group, name = ''] = installed.name.startsWith('@')
    ? installed.name.split('/')
    : ['', installed.name];
  return {
    type: 'library',
    'bom-ref': reference,
    ...(group ? { group } : {}),
    name,
    version: installed.version,
    scope,
    hashes: [{ alg: 'SHA-512', content: installed.sha512 }],
    licenses: licencesOf(installed.licence),
    purl: reference,
    components: installed.libraries.map((library) => libraryComponent(reference, library)),
  };
};

const bunReference = `pkg:npm/bun@${process.versions.bun}`;

const bunComponent = (): Json => ({
  type: 'platform',
  'bom-ref': bunReference,
  name: 'bun',
  version: process.versions.bun ?? '',
  licenses: licencesOf('MIT'),
  purl: bunReference,
  externalReferences: [{ type: 'vcs', url: 'https://github.com/oven-sh/bun', comment: Bun.revision }],
  components: librariesOfBun().map((library) => libraryComponent(bunReference, library)),
});

/** OpenAI's list of word pieces, and the tokenizer that goes with it. */
const vocabularyComponent: Json = {
  type: 'data',
  'bom-ref': 'clip-vocabulary',
  name: 'clip-vocabulary',
  licenses: licencesOf('MIT'),
  externalReferences: [{ type: 'vcs', url: 'https://github.com/openai/CLIP' }],
};

/**
 * The installed packages of a Debian system. Their licences are in /usr/share/doc.
 * @param status the text of /var/lib/dpkg/status
 * @param release the text of /etc/os-release
 */
export function debianComponents(status: string, release: string): readonly Json[] {
  const value = (text: string, name: string) =>
    new RegExp(`^${name}[:=] *"?([^"\n]*)`, 'm').exec(text)?.[1] ?? '';
  return status
    .split('\n\n')
    .filter((entry) => value(entry, 'Status') === 'install ok installed')
    .map((entry) => {
      const [name, version] = [value(entry, 'Package'), value(entry, 'Version')];
      const qualifiers = `arch=${value(entry, 'Architecture')}&distro=${value(release, 'VERSION_CODENAME')}`;
      const purl = `pkg:deb/${value(release, 'ID')}/${name}@${encodeURIComponent(version)}?${qualifiers}`;
      return { type: 'library', 'bom-ref': purl, name, version, purl };
    });
}

/**
 * Without a time, so that the same contents give the same bytes.
 * @param system more components
 * @returns a CycloneDX 1.6 document
 */
export function billOfMaterials(system: readonly Json[]): Json {
  const packages = installedPackages();
  const self = `classify-images@${packageJson.version}`;
  const references = (keys: readonly string[]) => [
    ...new Set(
      keys.flatMap((key) => {
        const installed = packages.get(key);
        return installed ? [npmReference(installed)] : [];
      }),
    ),
  ];
  const needs = new Map([[self, [...references(resolveNeeds('', packageJson)), bunReference]]]);
  // One package may be there twice, at two places.
  const components = new Map<string, Json>();
  const reached = reachable(packages);
  for (const [key, installed] of packages) {
    const reference = npmReference(installed);
    if (components.has(reference) && !reached.has(key)) continue;
    needs.set(reference, references(installed.needs));
    components.set(reference, npmComponent(installed, reached.has(key) ? 'required' : 'excluded'));
  }
  const contents = {
    metadata: {
      component: {
        type: 'application',
        'bom-ref': self,
        name: packageJson.name,
        version: packageJson.version,
        licenses: licencesOf(packageJson.license),
      },
    },
    components: [bunComponent(), vocabularyComponent, ...components.values(), ...system],
    dependencies: [...needs].map(([ref, dependsOn]) => ({ ref, dependsOn })),
  };
  const digest = createHash('sha256').update(JSON.stringify(contents)).digest('hex');
  const [, a, b, c, d, e] = /^(.{8})(.{4}).(.{3}).(.{3})(.{12})/.exec(digest) ?? [];
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    // A UUID of version 8, made of the contents.
    serialNumber: `urn:uuid:${a}-${b}-8${c}-8${d}-${e}`,
    version: 1,
    ...contents,
  };
}

/** Names, versions, licences and addresses, then the licence texts that the packages carry. */
export function notices(): string {
  const packages = [...installedPackages().values()];
  const line = ({ name, version, licence, address }: Library) =>
    `    ${name}${version === undefined ? '' : ` ${version}`} (${licence}): ${address}`;
  const texts = packages.flatMap(({ name, version, folder }) =>
    readdirSync(folder)
      .filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file))
      .toSorted()
      .map((file) => {
        const text = readFileSync(join(folder, file), 'utf8').trim();
        return `${'-'.repeat(80)}\n${name} ${version}: ${file}\n\n${text}`;
      }),
  );
  return `${[
    'classify-images contains, or runs on, the following works of third parties. docs/third-party.md explains it.',
    [
      'Bun and what is linked into it:',
      `    bun ${process.versions.bun} (MIT): https://github.com/oven-sh/bun`,
    ].join('\n'),
    librariesOfBun().map(line).join('\n'),
    ...packages
      .filter(({ libraries }) => libraries.length > 0)
      .map(({ name, version, libraries }) =>
        [`The binary of ${name} ${version}:`, ...libraries.map(line)].join('\n'),
      ),
    [
      'npm packages:',
      ...packages.map(({ name, version, licence }) => `    ${name} ${version} (${licence})`),
    ].join('\n'),
    "The vocabulary of CLIP in models/ is OpenAI's (MIT): https://github.com/openai/CLIP",
    'Licence texts of the npm packages, as far as they have files with them:',
    ...texts,
  ].join('\n\n')}\n`;
}

if (import.meta.main) {
  const system = process.argv.includes('--system')
    ? debianComponents(readFileSync('/var/lib/dpkg/status', 'utf8'), readFileSync('/etc/os-release', 'utf8'))
    : [];
  const output = process.argv.includes('--notices')
    ? notices()
    : JSON.stringify(billOfMaterials(system), null, 1);
  process.stdout.write(`${output.trim()}\n`);
}
