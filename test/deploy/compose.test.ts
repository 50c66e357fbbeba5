import { describe, expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import packageJson from '../../package.json';
import { environmentSchema, parseConfig } from '../../src/config.ts';

const repository = join(import.meta.dir, '../..');
const image = `classify-images:${packageJson.version}`;

const read = (path: string) => readFile(join(repository, 'deploy', path), 'utf8');
const load = async (path: string): Promise<unknown> => Bun.YAML.parse(await read(path));

const text = v.record(v.string(), v.string());
const service = v.looseObject({
  image: v.string(),
  build: v.optional(v.literal('..')),
  command: v.optional(v.array(v.string())),
  environment: v.optional(text),
  ports: v.optional(v.array(v.string())),
  volumes: v.array(v.string()),
  read_only: v.literal(true),
  cap_drop: v.tuple([v.literal('ALL')]),
  // A log that grows without end fills the disk of the host.
  logging: v.object({
    driver: v.literal('json-file'),
    options: v.object({
      'max-size': v.pipe(v.string(), v.regex(/^\d+m$/)),
      'max-file': v.pipe(v.string(), v.regex(/^\d+$/)),
    }),
  }),
});

/** Of the container: where it listens, and where its volume is. */
const settingsOfContainer = ['HOST', 'PORT', 'CLIP_CACHE'];
const settings = Object.keys(environmentSchema.entries).filter((name) => !settingsOfContainer.includes(name));
const proxySettings = ['http_proxy', 'https_proxy', 'no_proxy'];
const modelSettings = ['CLIP_MODEL', 'CLIP_MODEL_URL', 'CLIP_PRECISION', 'LOG_LEVEL', ...proxySettings];

const compose = v.looseObject({
  services: v.record(v.string(), service),
  volumes: v.record(v.string(), v.null()),
});

describe('the compose files', () => {
  test.each(['compose.yaml', 'compose.replicas.yaml'])(
    '%s: image, settings, ports and files are right',
    async (name) => {
      const { services, volumes } = v.parse(compose, await load(name));
      let ours = 0;
      for (const {
        image: own,
        build,
        environment = {},
        command = [],
        ports = [],
        volumes: mounts,
      } of Object.values(services)) {
        for (const port of ports) expect(port).toEndWith(`:${parseConfig({}, []).port}`);
        for (const mount of mounts) {
          const [source = ''] = mount.split(':');
          if (source.startsWith('./')) expect(await read(source)).not.toBe('');
          else if (mount.includes(':')) expect(Object.keys(volumes)).toContain(source);
        }
        if (build === undefined && own !== image) continue;
        ours += 1;
        expect(own).toBe(image);
        const passedOn = command.length > 0 ? modelSettings : [...settings, ...proxySettings];
        expect(Object.keys(environment).toSorted()).toEqual(passedOn.toSorted());
        for (const [key, value] of Object.entries(environment)) expect(value).toBe(`\${${key}:-}`);
        expect(() => parseConfig(Object.fromEntries(passedOn.map((key) => [key, ''])), [])).not.toThrow();
        for (const file of command.slice(1))
          expect(await Bun.file(join(repository, file)).exists()).toBe(true);
      }
      expect(ours).toBe(name === 'compose.yaml' ? 1 : 2);
    },
  );

  test('only the one that fetches the model may write it; nginx finds the replicas by their name', async () => {
    const { services } = v.parse(compose, await load('compose.replicas.yaml'));
    expect(services.model?.volumes).toContain('clip:/.cache/clip');
    expect(services['classify-images']?.volumes).toContain('clip:/.cache/clip:ro');
    expect(services['classify-images']?.ports).toBeUndefined();
    expect(await read('replicas.conf')).toContain(`server classify-images:${parseConfig({}, []).port} `);
  });
});
