import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import packageJson from '../../package.json';
import { environmentSchema, parseConfig } from '../../src/config.ts';
import { start, type TestServer } from '../http/harness.ts';
import { parseExposition } from '../http/metrics/exposition.ts';

const repository = join(import.meta.dir, '../..');
const image = `classify-images:${packageJson.version}`;

const read = (path: string) => readFile(join(repository, 'deploy', path), 'utf8');
const load = async (path: string): Promise<unknown> => Bun.YAML.parse(await read(path));
const manifest = async <Schema extends v.GenericSchema>(schema: Schema, path: string) =>
  v.parse(schema, await load(`kubernetes/${path}`));

const text = v.record(v.string(), v.string());
const securityContext = v.object({
  allowPrivilegeEscalation: v.literal(false),
  readOnlyRootFilesystem: v.literal(true),
  capabilities: v.object({ drop: v.tuple([v.literal('ALL')]) }),
});
const probe = v.looseObject({ httpGet: v.object({ path: v.string(), port: v.literal('http') }) });
const container = v.looseObject({
  image: v.literal(image),
  command: v.optional(v.array(v.string())),
  env: v.array(v.looseObject({ name: v.string(), value: v.optional(v.string()) })),
  resources: v.object({ requests: text, limits: text }),
  securityContext,
  ports: v.optional(v.array(v.object({ name: v.string(), containerPort: v.number() }))),
  startupProbe: v.optional(probe),
  livenessProbe: v.optional(probe),
  readinessProbe: v.optional(probe),
  volumeMounts: v.array(
    v.object({ name: v.string(), mountPath: v.string(), readOnly: v.optional(v.boolean()) }),
  ),
});
const podSpec = v.looseObject({
  terminationGracePeriodSeconds: v.optional(v.number()),
  securityContext: v.looseObject({ runAsNonRoot: v.literal(true), runAsUser: v.literal(1000) }),
  containers: v.tuple([container]),
  volumes: v.array(
    v.looseObject({
      name: v.string(),
      persistentVolumeClaim: v.optional(v.object({ claimName: v.string() })),
    }),
  ),
});
const workload = v.looseObject({
  metadata: v.object({ name: v.string() }),
  spec: v.looseObject({
    template: v.looseObject({
      metadata: v.object({ labels: text, annotations: v.optional(text) }),
      spec: podSpec,
    }),
  }),
});
const kustomization = v.looseObject({
  resources: v.array(v.string()),
  images: v.array(v.record(v.string(), v.string())),
  components: v.optional(v.array(v.string())),
});
const selecting = v.looseObject({ spec: v.looseObject({ selector: v.looseObject({ matchLabels: text }) }) });

let server: TestServer;
beforeAll(() => {
  server = start();
});
afterAll(() => server[Symbol.asyncDispose]());

const configSource = await readFile(join(repository, 'src/config.ts'), 'utf8');

/** All are settings of config.ts, with values that it takes; one from a secret has none here. */
function expectKnown(environment: Readonly<Record<string, string | undefined>>) {
  for (const name of Object.keys(environment)) expect(configSource).toContain(`\n  ${name}: `);
  expect(() => parseConfig(environment, [])).not.toThrow();
}

describe('the Kubernetes manifests', () => {
  test('the kustomizations name what is there, the image, and one autoscaler', async () => {
    const parts = [
      { folder: 'kubernetes', without: ['autoscale-by-queue.yaml'] },
      { folder: 'kubernetes/model', without: [] },
    ];
    for (const { folder, without } of parts) {
      const { resources, images } = v.parse(kustomization, await load(`${folder}/kustomization.yaml`));
      const entries = await readdir(join(repository, 'deploy', folder), { withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
      expect([...resources, ...without, 'kustomization.yaml'].toSorted()).toEqual(files.toSorted());
      for (const name of files) {
        expect(await load(`${folder}/${name}`)).toMatchObject({ kind: expect.any(String) });
      }
      const [name = '', newTag = ''] = image.split(':');
      expect(images).toEqual([{ name, newName: name, newTag }]);
    }
  });

  test('with the API key nothing starts until its secret is there, and the Deployment alone has none', async () => {
    const { components } = v.parse(kustomization, await load('kubernetes/kustomization.yaml'));
    expect(components).toEqual(['api-key']);
    const component = v.parse(
      v.looseObject({
        kind: v.literal('Component'),
        patches: v.tuple([
          v.object({
            target: v.object({ kind: v.literal('Deployment'), name: v.string() }),
            patch: v.string(),
          }),
        ]),
      }),
      await load('kubernetes/api-key/kustomization.yaml'),
    );
    const [{ target, patch }] = component.patches;
    expect(Bun.YAML.parse(patch)).toEqual([
      {
        op: 'add',
        path: '/spec/template/spec/containers/0/env/-',
        // Not `optional`: without its secret a service that wants a key would serve everyone.
        value: {
          name: 'API_KEY',
          valueFrom: { secretKeyRef: { name: 'classify-images', key: 'api-key' } },
        },
      },
    ]);
    const { metadata, spec } = await manifest(workload, 'deployment.yaml');
    expect(target.name).toBe(metadata.name);
    expect(spec.template.spec.containers[0].env.map(({ name }) => name)).not.toContain('API_KEY');
    for (const step of ['kubectl create secret generic classify-images --from-literal api-key=']) {
      expect(await read('README.md')).toContain(step);
    }
  });

  test('the Job that brings the model gives up on settings that cannot be used', async () => {
    const job = await load('kubernetes/model/job.yaml');
    expect(job).toMatchObject({
      spec: {
        podFailurePolicy: { rules: [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [2] } }] },
        template: { spec: { restartPolicy: 'Never' } },
      },
    });
  });

  test('the probes ask what the service answers', async () => {
    const { spec } = await manifest(workload, 'deployment.yaml');
    const [{ startupProbe, livenessProbe, readinessProbe, ports }] = spec.template.spec.containers;
    expect(startupProbe?.httpGet.path).toBe('/health');
    expect(livenessProbe?.httpGet.path).toBe('/health');
    expect(readinessProbe?.httpGet.path).toBe('/ready');
    for (const asked of [startupProbe, livenessProbe, readinessProbe]) {
      expect((await fetch(server.address(asked?.httpGet.path ?? ''))).status).toBe(200);
    }
    expect(ports).toEqual([{ name: 'http', containerPort: 8080 }]);
    const scrape = spec.template.metadata.annotations;
    expect(scrape).toMatchObject({ 'prometheus.io/port': '8080' });
    expect((await fetch(server.address(scrape?.['prometheus.io/path'] ?? ''))).status).toBe(200);
  });

  test('the port is the one that it listens on, and that the Service leads to', async () => {
    const { spec } = await manifest(workload, 'deployment.yaml');
    const [{ env, ports }] = spec.template.spec.containers;
    const environment = Object.fromEntries(env.map(({ name, value }) => [name, value]));
    expect(parseConfig(environment, []).port).toBe(ports?.[0]?.containerPort as number);
    expect(await load('kubernetes/service.yaml')).toMatchObject({
      spec: { selector: spec.template.metadata.labels, ports: [{ targetPort: 'http' }] },
    });
  });

  test.each(['deployment.yaml', 'model/job.yaml'])(
    '%s: settings exist, memory is granted whole',
    async (name) => {
      const { spec } = await manifest(workload, name);
      const [{ env, resources, command }] = spec.template.spec.containers;
      expectKnown(Object.fromEntries(env.map((entry) => [entry.name, entry.value])));
      expect(resources.requests.memory).toBe(resources.limits.memory as string);
      for (const file of command?.slice(1) ?? [])
        expect(await Bun.file(join(repository, file)).exists()).toBe(true);
    },
  );

  test('the model’s volume is written by the Job and read by the replicas, which write to /tmp alone', async () => {
    const deployment = (await manifest(workload, 'deployment.yaml')).spec.template.spec;
    const job = (await manifest(workload, 'model/job.yaml')).spec.template.spec;
    expect(deployment.containers[0].volumeMounts).toEqual([
      { name: 'model', mountPath: '/.cache/clip', readOnly: true },
      { name: 'temporary', mountPath: '/tmp' },
    ]);
    expect(job.containers[0].volumeMounts).toEqual([
      { name: 'model', mountPath: '/.cache/clip' },
      { name: 'temporary', mountPath: '/tmp' },
    ]);
    const claim = (await load('kubernetes/model/volume.yaml')) as { metadata: { name: string } };
    for (const { volumes } of [deployment, job]) {
      expect(volumes[0]?.persistentVolumeClaim?.claimName).toBe(claim.metadata.name);
    }
    const model = (spec: typeof job) =>
      spec.containers[0].env.find(({ name }) => name === 'CLIP_MODEL')?.value;
    expect(model(job)).toBe(model(deployment) as string);
  });

  test('replicas are given longer to stop than they linger', async () => {
    const { terminationGracePeriodSeconds } = (await manifest(workload, 'deployment.yaml')).spec.template
      .spec;
    const [, lingerMs] =
      /LINGER_MS = (\d+);/.exec(await Bun.file(join(repository, 'src/main.ts')).text()) ?? [];
    expect(terminationGracePeriodSeconds).toBeGreaterThan((2 * Number(lingerMs)) / 1000);
  });

  test('everything else is about this Deployment', async () => {
    const deployment = await manifest(workload, 'deployment.yaml');
    const { name } = deployment.metadata;
    const { labels } = deployment.spec.template.metadata;
    for (const file of ['deployment.yaml', 'disruption-budget.yaml']) {
      expect((await manifest(selecting, file)).spec.selector.matchLabels).toEqual(labels);
    }
    for (const file of ['autoscale-by-cpu.yaml', 'autoscale-by-queue.yaml']) {
      expect(await load(`kubernetes/${file}`)).toMatchObject({ spec: { scaleTargetRef: { name } } });
    }
    const { spec } = await manifest(workload, 'model/job.yaml');
    expect(spec.template.metadata.labels).not.toEqual(labels);
  });

  test('what scales by the queue asks for metrics that there are', async () => {
    const { spec } = v.parse(
      v.looseObject({
        spec: v.looseObject({
          triggers: v.array(v.looseObject({ metadata: v.looseObject({ query: v.string() }) })),
        }),
      }),
      await load('kubernetes/autoscale-by-queue.yaml'),
    );
    const families = parseExposition(await (await fetch(server.address('/metrics'))).text());
    const asked = spec.triggers.flatMap(({ metadata: { query } }) => [
      ...query.matchAll(/(classify_images_\w+)\{queue="(\w+)"\}/g),
    ]);
    expect(asked.length).toBe(4);
    for (const [, name, queue] of asked) {
      const samples = families.find((family) => family.name === name)?.samples ?? [];
      expect(samples.map(({ labels }) => labels.queue)).toContain(queue as string);
    }
  });
});

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
