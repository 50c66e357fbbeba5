import { expect, test } from 'bun:test';
import { join } from 'node:path';
import lock from '../../bun.lock';
import packageJson from '../../package.json';
import { parseConfig } from '../../src/config.ts';
import { namesIn, resolveNeeds } from '../../src/sbom.ts';

const repository = join(import.meta.dir, '../..');

interface Instruction {
  readonly keyword: string;
  readonly rest: string;
}

const read = (name: string) => Bun.file(join(repository, name)).text();

const instructions: readonly Instruction[] = (await read('Dockerfile'))
  .replace(/^\s*#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => {
    const [keyword = '', ...rest] = line.split(/\s+/);
    return { keyword, rest: rest.join(' ') };
  });
const lastStage = instructions.slice(instructions.findLastIndex(({ keyword }) => keyword === 'FROM'));
const all = (keyword: string) => lastStage.filter((it) => it.keyword === keyword).map(({ rest }) => rest);

/** The values of LABEL, ENV or ARG instructions, by name. */
const values = (keyword: string) =>
  new Map(
    instructions
      .filter((it) => it.keyword === keyword)
      .flatMap(({ rest }) => [...rest.matchAll(/([\w.]+)=("[^"]*"|\S+)/g)])
      .map(([, name, value]) => [name, value?.replaceAll('"', '')] as const),
  );

test('every stage starts from a release, never from a moving name', () => {
  const stages = instructions.filter(({ keyword }) => keyword === 'FROM').map(({ rest }) => rest);
  const names = stages.map((stage) => / AS (\S+)/.exec(stage)?.[1]);
  for (const stage of stages) {
    const image = stage.split(' ')[0];
    if (!names.includes(image)) expect(image).toMatch(/:(?!latest|stable|slim$)[\w.${}-]+$/);
  }
});

test('the versions are those of package.json', () => {
  expect(values('ARG').get('BUN_VERSION')).toBe(packageJson.devDependencies['bun-types']);
  expect(values('LABEL').get('org.opencontainers.image.version')).toBe(packageJson.version);
});

test('the service runs as a numbered user who is not root, and keeps models in a volume', () => {
  expect(all('USER').at(-1)).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  expect(all('VOLUME')).toEqual(['/.cache/clip']);
});

test('a command given to the container runs instead of the service, and signals reach the service', () => {
  expect(all('ENTRYPOINT')).toEqual([]);
  // The exec form: a shell in between would keep the signal to itself.
  const command: unknown = JSON.parse(all('CMD').at(-1)!);
  expect(command).toEqual(['bun', packageJson.scripts.start.split(' ').at(-1)!]);
});

test('the container and `bun run start` keep freed memory for equally long', () => {
  const [, delay] = /MIMALLOC_PURGE_DELAY=(\d+)/.exec(packageJson.scripts.start) ?? [];
  expect(values('ENV').get('MIMALLOC_PURGE_DELAY')).toBe(delay);
});

test('ONNX Runtime is told not to report to its makers', () => {
  expect(values('ENV').get('ORT_DISABLE_TELEMETRY')).toBe('1');
});

test('no package is in the image that nothing there can import', () => {
  const [, list = ''] = / && rm -rf (.+?) &&/.exec(instructions.map(({ rest }) => rest).join('\n')) ?? [];
  const removed = list.trim().split(/\s+/);
  expect(removed.length).toBeGreaterThan(20);
  const isRemoved = (key: string) =>
    removed.some((pattern) => new Bun.Glob(pattern).match(namesIn(key)[0]?.replace(/\/.*/, '') ?? ''));
  /** Everything that these lead to, as far as `passes` lets through. */
  const reach = (passes: (key: string) => boolean, withOptionalPeers: boolean) => {
    const reached = new Set(resolveNeeds('', packageJson));
    for (const key of reached) {
      const info = lock.packages[key]?.[2];
      if (!passes(key) || typeof info !== 'object') continue;
      const needs = withOptionalPeers ? { ...info, optionalPeers: [] } : info;
      for (const need of resolveNeeds(key, needs)) reached.add(need);
    }
    return [...reached].filter(passes);
  };
  const installed = reach(() => true, true);
  const left = installed.filter((key) => !isRemoved(key));
  expect(left.toSorted()).toEqual(reach((key) => !isRemoved(key), false).toSorted());
  // It has a vulnerability that is not repaired, which .ci/audit therefore leaves out.
  expect(installed).toContain('ip');
  expect(left).not.toContain('ip');
});

test('the image says what is in it, after all that is in it is there', () => {
  const written = lastStage.findIndex(({ rest }) => rest.includes('src/sbom.ts'));
  expect(lastStage[written]?.rest).toBe(
    'bun src/sbom.ts --system > sbom.cdx.json && bun src/sbom.ts --notices > THIRD-PARTY-NOTICES.txt',
  );
  expect(lastStage.slice(written).map(({ keyword }) => keyword)).not.toContain('COPY');
});

test('the exposed port is the one the service takes by default', () => {
  expect(all('EXPOSE')).toEqual([String(parseConfig({}, []).port)]);
});

test('the build context holds exactly what is copied from it', async () => {
  const copied = instructions
    .filter(({ keyword, rest }) => keyword === 'COPY' && !rest.startsWith('--from'))
    .flatMap(({ rest }) => rest.split(' ').slice(0, -1));
  const sent = (await read('.dockerignore')).match(/(?<=^!).+/gm) ?? [];
  expect([...new Set(copied)].sort()).toEqual(sent.sort());
});

const health = JSON.parse(/CMD (.*)$/.exec(all('HEALTHCHECK')[0]!)![1]!) as readonly string[];

async function healthExitCode(environment: Record<string, string>): Promise<number> {
  const check = Bun.spawn([process.execPath, ...health.slice(1)], {
    env: environment,
    stdout: 'ignore',
    stderr: 'ignore',
  });
  return await check.exited;
}

test('the health check follows /health, on the configured port and past a proxy', async () => {
  expect(health[0]).toBe('bun');
  let status = 200;
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: (request) =>
      new Response(null, { status: new URL(request.url).pathname === '/health' ? status : 404 }),
  });
  try {
    const PORT = String(server.port);
    expect(await healthExitCode({ PORT })).toBe(0);
    // Nothing listens on port 9: an answer through this proxy would be an error.
    const proxy = 'http://127.0.0.1:9';
    expect(await healthExitCode({ PORT, HTTP_PROXY: proxy, http_proxy: proxy })).toBe(0);
    status = 503;
    expect(await healthExitCode({ PORT })).toBe(1);
    await server.stop(true);
    expect(await healthExitCode({ PORT })).toBe(1);
  } finally {
    await server.stop(true);
  }
});
