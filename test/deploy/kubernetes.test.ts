import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import packageJson from '../../package.json';
import { parseConfig } from '../../src/config.ts';
import { start, type TestServer } from '../http/harness.ts';
import { type Family, parseExposition } from '../http/metrics/exposition.ts';
import { codeBlocks, section, tableRows } from '../readme/markdown.ts';
import { temporaryFolder } from '../robustness/target.ts';

const repository = join(import.meta.dir, '../..');
const folder = join(repository, 'deploy/kubernetes');
const readme = await readFile(join(repository, 'deploy/README.md'), 'utf8');

const read = (path: string) => readFile(join(folder, path), 'utf8');
const load = async (path: string): Promise<unknown> => Bun.YAML.parse(await read(path));

const text = v.record(v.string(), v.string());
const securityContext = v.object({
  allowPrivilegeEscalation: v.literal(false),
  readOnlyRootFilesystem: v.literal(true),
  capabilities: v.object({ drop: v.tuple([v.literal('ALL')]) }),
});
const probe = v.looseObject({ httpGet: v.object({ path: v.string(), port: v.literal('http') }) });
const container = v.looseObject({
  image: v.string(),
  command: v.optional(v.array(v.string())),
  env: v.optional(
    v.array(
      v.looseObject({
        name: v.string(),
        value: v.optional(v.string()),
        valueFrom: v.optional(v.object({ secretKeyRef: v.object({ name: v.string(), key: v.string() }) })),
      }),
    ),
    [],
  ),
  envFrom: v.array(v.object({ configMapRef: v.object({ name: v.string() }) })),
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
  // As the namespace demands.
  securityContext: v.looseObject({
    runAsNonRoot: v.literal(true),
    runAsUser: v.literal(1000),
    seccompProfile: v.object({ type: v.literal('RuntimeDefault') }),
  }),
  containers: v.tuple([container]),
  volumes: v.array(
    v.looseObject({
      name: v.string(),
      persistentVolumeClaim: v.optional(v.object({ claimName: v.string() })),
      emptyDir: v.optional(v.object({ sizeLimit: v.string() })),
    }),
  ),
});
const workload = v.looseObject({
  metadata: v.looseObject({ name: v.string() }),
  spec: v.looseObject({
    template: v.looseObject({
      metadata: v.object({ labels: text, annotations: v.optional(text) }),
      spec: podSpec,
    }),
  }),
});
const kustomization = v.looseObject({
  kind: v.string(),
  resources: v.optional(v.array(v.string()), []),
  components: v.optional(v.array(v.string()), []),
});
const settings = v.looseObject({
  kind: v.literal('Component'),
  namespace: v.string(),
  images: v.tuple([v.object({ name: v.string(), newName: v.string(), newTag: v.string() })]),
  configMapGenerator: v.tuple([v.object({ name: v.string(), literals: v.array(v.string()) })]),
  patches: v.tuple([v.looseObject({ target: v.object({ kind: v.literal('Job') }), patch: v.string() })]),
});

const deployment = async () => v.parse(workload, await load('service/deployment.yaml'));
const job = async () => v.parse(workload, await load('model/job.yaml'));

let server: TestServer;
let families: readonly Family[];
beforeAll(async () => {
  server = start();
  families = parseExposition(await (await fetch(server.address('/metrics'))).text());
});
afterAll(() => server[Symbol.asyncDispose]());

const configSource = await readFile(join(repository, 'src/config.ts'), 'utf8');

/** All are settings of config.ts, with values that it takes; one from a secret has none here. */
function expectKnown(environment: Readonly<Record<string, string | undefined>>) {
  for (const name of Object.keys(environment)) expect(configSource).toContain(`\n  ${name}: `);
  expect(() => parseConfig(environment, [])).not.toThrow();
}

describe('the manifests', () => {
  test.each([
    { part: 'model', optional: [] },
    { part: 'service', optional: ['autoscale-by-queue.yaml', 'http-route.yaml'] },
    { part: 'monitoring', optional: ['dashboard.json'] },
  ])('$part names what is there, and uses the settings', async ({ part, optional }) => {
    const { kind, resources, components } = v.parse(kustomization, await load(`${part}/kustomization.yaml`));
    expect(kind).toBe('Kustomization');
    const entries = await readdir(join(folder, part), { withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    expect([...resources, ...optional, 'kustomization.yaml'].toSorted()).toEqual(files.toSorted());
    for (const name of files) {
      const written: unknown = await load(`${part}/${name}`);
      if (name.endsWith('.yaml')) expect(written).toMatchObject({ kind: expect.any(String) });
    }
    expect(components[0]).toBe('../settings');
  });

  test('the optional resources of the service need one line each', async () => {
    const lines = await read('service/kustomization.yaml');
    for (const name of ['autoscale-by-queue.yaml', 'http-route.yaml']) {
      expect(lines).toContain(`\n  # - ${name}\n`);
    }
  });

  test('image, model and namespace are those of this version, and nowhere else', async () => {
    const { namespace, images, configMapGenerator, patches } = v.parse(
      settings,
      await load('settings/kustomization.yaml'),
    );
    expect(images).toEqual([
      { name: 'classify-images', newName: 'classify-images', newTag: packageJson.version },
    ]);
    expect(await load('namespace.yaml')).toMatchObject({ metadata: { name: namespace } });
    const [model] = configMapGenerator;
    expectKnown(Object.fromEntries(model.literals.map((literal) => literal.split(/=(.*)/).slice(0, 2))));
    expect(Bun.YAML.parse(patches[0].patch)).toEqual([
      { op: 'replace', path: '/metadata/name', value: `classify-images-model-${packageJson.version}` },
    ]);
    for (const { spec } of [await deployment(), await job()]) {
      const [{ image, env, envFrom }] = spec.template.spec.containers;
      expect(image).toBe(`classify-images:${packageJson.version}`);
      expect(envFrom).toEqual([{ configMapRef: { name: model.name } }]);
      expect(env.map(({ name }) => name)).not.toContain('CLIP_MODEL');
    }
  });

  test('with the API key nothing starts until its secret is there, and the Deployment alone has none', async () => {
    const { components } = v.parse(kustomization, await load('service/kustomization.yaml'));
    expect(components).toEqual(['../settings', 'api-key']);
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
      await load('service/api-key/kustomization.yaml'),
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
    const { metadata, spec } = await deployment();
    expect(target.name).toBe(metadata.name);
    expect(spec.template.spec.containers[0].env.map(({ name }) => name)).not.toContain('API_KEY');
  });

  test('the Job gives up on settings that cannot be used, and removes itself', async () => {
    expect(await load('model/job.yaml')).toMatchObject({
      spec: {
        ttlSecondsAfterFinished: expect.any(Number),
        podFailurePolicy: { rules: [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [2] } }] },
        template: { spec: { restartPolicy: 'Never' } },
      },
    });
  });

  test('the probes ask what the service answers', async () => {
    const { spec } = await deployment();
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
    const { spec } = await deployment();
    const [{ env, ports }] = spec.template.spec.containers;
    const environment = Object.fromEntries(env.map(({ name, value }) => [name, value]));
    expect(parseConfig(environment, []).port).toBe(ports?.[0]?.containerPort as number);
    expect(await load('service/service.yaml')).toMatchObject({
      spec: { selector: spec.template.metadata.labels, ports: [{ targetPort: 'http' }] },
    });
  });

  test.each([
    ['deployment.yaml', deployment],
    ['job.yaml', job],
  ])('%s: settings exist, memory is granted whole, disk is asked for', async (_, written) => {
    const [{ env, resources, command }] = (await written()).spec.template.spec.containers;
    expectKnown(Object.fromEntries(env.map((entry) => [entry.name, entry.value])));
    expect(resources.requests.memory).toBe(resources.limits.memory as string);
    expect(resources.requests['ephemeral-storage']).toMatch(/^\d+[MG]i$/);
    for (const file of command?.slice(1) ?? [])
      expect(await Bun.file(join(repository, file)).exists()).toBe(true);
  });

  test('the uploads that the service takes fit into /tmp: Kubernetes would end the pod', async () => {
    const [, stored] =
      /const VIDEOS_STORED = (\d+);/.exec(await readFile(join(repository, 'src/http/server.ts'), 'utf8')) ??
      [];
    const { volumes } = (await deployment()).spec.template.spec;
    const size = volumes.find(({ name }) => name === 'temporary')?.emptyDir?.sizeLimit ?? '';
    expect(size).toMatch(/^\d+Gi$/);
    expect(Number.parseInt(size, 10) * 1024 ** 3).toBeGreaterThan(
      Number(stored) * parseConfig({}, []).limits.videoBytes,
    );
  });

  test('the model’s volume is written by the Job and read by the replicas, which write to /tmp alone', async () => {
    const replica = (await deployment()).spec.template.spec;
    const fetching = (await job()).spec.template.spec;
    expect(replica.containers[0].volumeMounts).toEqual([
      { name: 'model', mountPath: '/.cache/clip', readOnly: true },
      { name: 'temporary', mountPath: '/tmp' },
    ]);
    expect(fetching.containers[0].volumeMounts).toEqual([
      { name: 'model', mountPath: '/.cache/clip' },
      { name: 'temporary', mountPath: '/tmp' },
    ]);
    const claim = (await load('model/volume.yaml')) as { metadata: { name: string } };
    for (const { volumes } of [replica, fetching]) {
      expect(volumes[0]?.persistentVolumeClaim?.claimName).toBe(claim.metadata.name);
    }
  });

  test('replicas are given longer to stop than they linger', async () => {
    const { terminationGracePeriodSeconds } = (await deployment()).spec.template.spec;
    const [, lingerMs] =
      /LINGER_MS = (\d+);/.exec(await Bun.file(join(repository, 'src/main.ts')).text()) ?? [];
    expect(terminationGracePeriodSeconds).toBeGreaterThan((2 * Number(lingerMs)) / 1000);
  });

  test('everything else is about this Deployment, and the policy of the Job about the Job', async () => {
    const { metadata, spec } = await deployment();
    const { labels } = spec.template.metadata;
    const jobLabels = (await job()).spec.template.metadata.labels;
    expect(jobLabels).not.toEqual(labels);
    const chosen = { matchLabels: labels };
    for (const [file, expected] of [
      ['service/deployment.yaml', { selector: chosen }],
      ['service/disruption-budget.yaml', { selector: chosen }],
      ['service/network-policy.yaml', { podSelector: chosen, egress: [] }],
      ['service/autoscale-by-cpu.yaml', { scaleTargetRef: { name: metadata.name } }],
      ['service/autoscale-by-queue.yaml', { scaleTargetRef: { name: metadata.name } }],
      ['monitoring/pod-monitor.yaml', { selector: chosen }],
      ['model/network-policy.yaml', { podSelector: { matchLabels: jobLabels } }],
    ] as const) {
      expect(await load(file)).toMatchObject({ spec: expected });
    }
  });

  test('the route leads to the Service without a limit of time, and never to the numbers', async () => {
    const { spec } = v.parse(
      v.looseObject({
        spec: v.looseObject({
          rules: v.array(
            v.looseObject({
              matches: v.tuple([v.object({ path: v.object({ type: v.string(), value: v.string() }) })]),
              timeouts: v.object({ request: v.literal('0s'), backendRequest: v.literal('0s') }),
              backendRefs: v.tuple([v.object({ name: v.string(), port: v.number() })]),
              filters: v.optional(
                v.tuple([
                  v.object({
                    type: v.literal('URLRewrite'),
                    urlRewrite: v.object({ path: v.looseObject({ replaceFullPath: v.string() }) }),
                  }),
                ]),
              ),
            }),
          ),
        }),
      }),
      await load('service/http-route.yaml'),
    );
    for (const { backendRefs } of spec.rules) {
      expect(await load('service/service.yaml')).toMatchObject({
        metadata: { name: backendRefs[0].name },
        spec: { ports: [{ port: backendRefs[0].port }] },
      });
    }
    const blocked = spec.rules.filter(({ filters }) => filters);
    expect(blocked.map(({ matches }) => matches[0].path)).toEqual([{ type: 'Exact', value: '/metrics' }]);
    const instead = blocked[0]?.filters?.[0].urlRewrite.path.replaceFullPath ?? '';
    expect((await fetch(server.address(instead))).status).toBe(404);
  });

  test('what scales by the queue asks for metrics that there are', async () => {
    const { spec } = v.parse(
      v.looseObject({
        spec: v.looseObject({
          triggers: v.array(v.looseObject({ metadata: v.looseObject({ query: v.string() }) })),
        }),
      }),
      await load('service/autoscale-by-queue.yaml'),
    );
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

describe('monitoring', () => {
  const rules = async () => {
    const { spec } = v.parse(
      v.looseObject({
        spec: v.object({
          groups: v.tuple([
            v.object({
              name: v.string(),
              rules: v.array(
                v.object({
                  alert: v.string(),
                  expr: v.string(),
                  for: v.optional(v.string()),
                  labels: v.object({ severity: v.picklist(['critical', 'warning', 'info']) }),
                  annotations: v.object({ summary: v.string(), description: v.string() }),
                }),
              ),
            }),
          ]),
        }),
      }),
      await load('monitoring/alerts.yaml'),
    );
    return spec.groups[0].rules;
  };
  /** The metrics in a query, as Prometheus stores them. */
  const metricsIn = (query: string) => query.match(/\b(?:classify_images|process)_\w+/g) ?? [];
  /** What an exposition of these families has, histograms with their parts. */
  const exposed = () =>
    families.flatMap(({ name, type }) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => `${name}${suffix}`) : [name],
    );
  const queries = async () => {
    const { panels } = v.parse(
      v.looseObject({
        panels: v.array(
          v.looseObject({ title: v.string(), targets: v.array(v.looseObject({ expr: v.string() })) }),
        ),
      }),
      await load('monitoring/dashboard.json'),
    );
    return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  };

  test('the rules are those of the README, in its order', async () => {
    const told = tableRows(section(readme, 'What to watch')).map(
      ([when = '']) => /`(.+?)`/.exec(when)?.[1] ?? '',
    );
    const alerts = (await rules()).map(({ expr }) => expr);
    expect(told.slice(-alerts.length)).toEqual(alerts);
    expect(alerts.length).toBe(10);
  });

  test('the rules and the dashboard ask for metrics that there are, with their labels', async () => {
    const asked = [...(await rules()).map(({ expr }) => expr), ...(await queries())];
    for (const query of asked) {
      expect(metricsIn(query).length).toBeGreaterThan(0);
      for (const name of metricsIn(query)) expect(exposed()).toContain(name);
    }
    const labels = new Set(
      families.flatMap(({ samples }) => samples.flatMap((it) => Object.keys(it.labels))),
    );
    for (const [, name = ''] of asked.join('\n').matchAll(/(\w+)="/g)) {
      // The namespace comes from Kubernetes; these are only there once a request was answered.
      if (!['namespace', 'code'].includes(name)) expect([...labels]).toContain(name);
    }
  });

  test('the dashboard shows every metric of an alert', async () => {
    const shown = (await queries()).flatMap(metricsIn);
    for (const { expr } of await rules()) expect(shown).toEqual(expect.arrayContaining(metricsIn(expr)));
  });

  const promtool = Bun.which('promtool');
  if (!promtool) console.log('Prometheus’ own check of the rules: skipped, there is no promtool');

  test.if(promtool !== null)(
    'Prometheus accepts the rules and the dashboard’s queries, and the rules fire',
    async () => {
      await using temporary = await temporaryFolder();
      const path = join(temporary.path, 'rules.yaml');
      const asked = (await queries()).map((query, index) => ({
        record: `dashboard:${index}`,
        expr: query.replaceAll('$namespace', 'classify-images'),
      }));
      await writeFile(
        path,
        JSON.stringify({
          groups: [
            { name: 'classify-images', rules: await rules() },
            { name: 'dashboard', rules: asked },
          ],
        }),
      );
      const series = {
        ClassifyImagesNotReady: ['classify_images_ready{pod="a"}', '0x60'],
        ClassifyImagesOverloaded: [
          'classify_images_request_failures_total{pod="a",code="overloaded"}',
          '0+1x60',
        ],
        ClassifyImagesBug: ['classify_images_request_failures_total{pod="a",code="internal"}', '0+1x60'],
        ClassifyImagesUploadsStall: [
          'classify_images_request_failures_total{pod="a",code="upload_stalled"}',
          '0+90x60',
        ],
        ClassifyImagesManyUploads: ['classify_images_uploads_running{pod="a",queue="pictures"}', '401x60'],
        ClassifyImagesUploadsOnDisk: [
          'classify_images_upload_bytes{pod="a",place="temporary_folder"}',
          '1x60',
        ],
        ClassifyImagesStalls: ['classify_images_event_loop_stall_seconds{pod="a"}', '0.6x60'],
        ClassifyImagesModelFails: ['classify_images_inference_breakdowns_total{pod="a"}', '0 0 1x58'],
      };
      const tests = Object.entries(series).map(([alert, [name, values]]) => ({
        interval: '1m',
        input_series: [{ series: name, values }],
        promql_expr_test: [
          { expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`, eval_time: '30m' },
        ].map((it) => ({ ...it, exp_samples: [{ labels: '{}', value: 1 }] })),
      }));
      const testPath = join(temporary.path, 'test.yaml');
      await writeFile(
        testPath,
        JSON.stringify({ rule_files: [path], evaluation_interval: '1m', tests }, null, 1),
      );
      for (const command of [
        ['check', 'rules', path],
        ['test', 'rules', testPath],
      ]) {
        const { exitCode, stdout, stderr } = Bun.spawnSync([promtool!, ...command]);
        expect([exitCode, exitCode === 0 ? '' : `${stdout}${stderr}`]).toEqual([0, '']);
      }
    },
  );
});

/** What the steps of the README leave in a cluster, with the refusals of Kubernetes that they could meet. */
class Cluster {
  readonly #objects = new Map<string, ClusterObject>();
  readonly #images: readonly string[];

  constructor(images: readonly string[]) {
    this.#images = images;
  }

  #get(kind: string, name: string): ClusterObject {
    const found = this.#objects.get(`${kind}/${name}`);
    if (!found) throw new Error(`${kind} "${name}" not found`);
    return found;
  }

  /** Objects of one `kubectl apply`, in any order. */
  apply(objects: readonly ClusterObject[]): void {
    for (const object of objects) {
      const { kind, metadata, spec } = object;
      if (kind !== 'Namespace') this.#get('Namespace', metadata.namespace ?? 'default');
      const before = this.#objects.get(`${kind}/${metadata.name}`);
      const fixed = { Job: 'template', Deployment: 'selector', PersistentVolumeClaim: 'accessModes' }[kind];
      if (before && fixed && !Bun.deepEquals(before.spec?.[fixed], spec?.[fixed])) {
        throw new Error(`${kind} "${metadata.name}": spec.${fixed}: field is immutable`);
      }
      this.#objects.set(`${kind}/${metadata.name}`, object);
    }
    for (const object of objects) {
      if (object.kind === 'Job' || object.kind === 'Deployment') this.#startPod(v.parse(workload, object));
    }
  }

  #startPod({ spec }: v.InferOutput<typeof workload>): void {
    const { containers, volumes } = spec.template.spec;
    const [{ image, env, envFrom }] = containers;
    if (!this.#images.includes(image)) throw new Error(`${image} cannot be pulled`);
    for (const { configMapRef } of envFrom) this.#get('ConfigMap', configMapRef.name);
    for (const { valueFrom } of env) if (valueFrom) this.#get('Secret', valueFrom.secretKeyRef.name);
    for (const { persistentVolumeClaim: claim } of volumes) {
      if (claim) this.#get('PersistentVolumeClaim', claim.claimName);
    }
  }

  /** One command of the README, with what `build` makes of a kustomization. */
  async run(command: string, build: (folder: string) => readonly ClusterObject[]): Promise<void> {
    const [, folder] = /^kubectl apply --kustomize (\S+)$/.exec(command) ?? [];
    const [, file] = /^kubectl apply --filename (\S+)$/.exec(command) ?? [];
    const [, secret, namespace = ''] =
      /^kubectl create secret generic (\S+) --namespace (\S+) --from-literal api-key=/.exec(command) ?? [];
    const [, waited] =
      /^kubectl wait --namespace \S+ --for condition=complete --timeout \S+ job\/(\S+)$/.exec(command) ?? [];
    if (folder) this.apply(build(folder));
    else if (file)
      this.apply([v.parse(clusterObject, Bun.YAML.parse(await Bun.file(join(repository, file)).text()))]);
    else if (secret) this.apply([{ kind: 'Secret', metadata: { name: secret, namespace } }]);
    else if (waited) this.#get('Job', waited);
    else throw new Error(`unknown command: ${command}`);
  }

  /** The image and the model of the running pods of a kind. */
  runs(kind: 'Job' | 'Deployment', name: string): readonly unknown[] {
    const [{ image, envFrom }] = v.parse(workload, this.#get(kind, name)).spec.template.spec.containers;
    return [image, this.#get('ConfigMap', envFrom[0]?.configMapRef.name ?? '').data];
  }
}

const clusterObject = v.looseObject({
  kind: v.string(),
  metadata: v.looseObject({ name: v.string(), namespace: v.optional(v.string()) }),
  spec: v.optional(v.record(v.string(), v.unknown())),
  data: v.optional(text),
});
type ClusterObject = v.InferOutput<typeof clusterObject>;

const kustomize = Bun.which('kustomize')
  ? ['kustomize', 'build']
  : Bun.which('kubectl')
    ? ['kubectl', 'kustomize']
    : undefined;
if (!kustomize) console.log('the steps on Kubernetes: skipped, there is neither kustomize nor kubectl');

describe('the steps of the README', () => {
  const [install, upgrade] = codeBlocks(readme)
    .filter(({ code }) => code.includes('kubectl apply --kustomize'))
    .map(({ code }) => code.trim().split('\n'));
  const jobIn = (commands: readonly string[] = []) => /job\/(\S+)/.exec(commands.join('\n'))?.[1] ?? '';

  test('name the files that there are, and wait for the Job of this version', async () => {
    for (const command of [...install!, ...upgrade!]) {
      const [, path] = /(deploy\/\S+)/.exec(command) ?? [];
      const file = path?.endsWith('.yaml') ? path : path && `${path}/kustomization.yaml`;
      if (file) expect(await Bun.file(join(repository, file)).exists()).toBe(true);
    }
    expect(jobIn(install)).toBe(`classify-images-model-${packageJson.version}`);
    expect(jobIn(upgrade)).not.toBe(jobIn(install));
    // Not past kustomize, which writes the image and the names.
    expect(readme).not.toMatch(/kubectl apply --filename \S+(?<!namespace\.yaml)\n/);
  });

  const pushed = (tag: string) => `registry.example/classify-images:${tag}`;
  const newTag = '9.9.9';

  /** The manifests in a folder of their own, with the operator's changes. */
  async function operator() {
    const temporary = await temporaryFolder();
    await cp(join(repository, 'deploy'), join(temporary.path, 'deploy'), { recursive: true });
    return {
      [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose](),
      change: async (from: string, to: string, part = 'settings') => {
        const path = join(temporary.path, `deploy/kubernetes/${part}/kustomization.yaml`);
        const before = await readFile(path, 'utf8');
        expect(before).toContain(from);
        await writeFile(path, before.replace(from, to));
      },
      build: (part: string): readonly ClusterObject[] => {
        const { exitCode, stdout, stderr } = Bun.spawnSync([...kustomize!, join(temporary.path, part)]);
        if (exitCode !== 0) throw new Error(String(stderr));
        return String(stdout)
          .split(/^---$/m)
          .map((document) => v.parse(clusterObject, Bun.YAML.parse(document)));
      },
    };
  }

  test.if(kustomize !== undefined)('install it, and upgrade it to another image and model', async () => {
    await using mine = await operator();
    const cluster = new Cluster([pushed(packageJson.version), pushed(newTag)]);
    await mine.change('newName: classify-images\n', 'newName: registry.example/classify-images\n');
    for (const command of install!) await cluster.run(command, mine.build);
    const first = [pushed(packageJson.version), { CLIP_MODEL: 'ViT-B/32' }];
    expect(cluster.runs('Job', jobIn(install))).toEqual(first);
    expect(cluster.runs('Deployment', 'classify-images')).toEqual(first);
    await cluster.run('kubectl apply --kustomize deploy/kubernetes/monitoring', mine.build);
    // Twice is as good as once, but for the secret.
    for (const command of install!.filter((it) => !it.includes('create')))
      await cluster.run(command, mine.build);

    await mine.change(`newTag: ${packageJson.version}`, `newTag: ${newTag}`);
    await mine.change('CLIP_MODEL=ViT-B/32', 'CLIP_MODEL=ViT-B/16');
    await mine.change(`value: ${jobIn(install)}`, `value: ${jobIn(upgrade)}`);
    for (const command of upgrade!) await cluster.run(command, mine.build);
    const second = [pushed(newTag), { CLIP_MODEL: 'ViT-B/16' }];
    expect(cluster.runs('Job', jobIn(upgrade))).toEqual(second);
    expect(cluster.runs('Deployment', 'classify-images')).toEqual(second);
  });

  test.if(kustomize !== undefined)('are refused where something was forgotten', async () => {
    await using mine = await operator();
    const run = async (cluster: Cluster, commands: readonly string[]) => {
      for (const command of commands) await cluster.run(command, mine.build);
    };
    const images = [pushed(packageJson.version), pushed(newTag)];
    await expect(run(new Cluster(images), install!)).rejects.toThrow('cannot be pulled');
    await mine.change('newName: classify-images\n', 'newName: registry.example/classify-images\n');
    await expect(run(new Cluster(images), install!.slice(1))).rejects.toThrow(
      'Namespace "classify-images" not',
    );
    const withoutSecret = install!.filter((it) => !it.includes('secret'));
    await expect(run(new Cluster(images), withoutSecret)).rejects.toThrow(
      'Secret "classify-images" not found',
    );
    const withoutModel = install!.filter((it) => !it.includes('model'));
    await expect(run(new Cluster(images), withoutModel)).rejects.toThrow('PersistentVolumeClaim');
    const cluster = new Cluster(images);
    await run(cluster, install!);
    await mine.change(`newTag: ${packageJson.version}`, `newTag: ${newTag}`);
    await expect(run(cluster, upgrade!)).rejects.toThrow('field is immutable');
  });

  const validator = Bun.which('kubectl-validate');
  if (!validator) console.log('Kubernetes’ own schemas: skipped, there is no kubectl-validate');

  // With KUBERNETES_CRDS, a folder with their definitions, those of the other projects, too.
  const definitions = process.env.KUBERNETES_CRDS;
  const foreign = ['HTTPRoute', 'PodMonitor', 'PrometheusRule', 'ScaledObject'];

  test.if(kustomize !== undefined && validator !== null)('give what Kubernetes’ schemas accept', async () => {
    await using mine = await operator();
    await using temporary = await temporaryFolder();
    for (const name of ['autoscale-by-queue.yaml', 'http-route.yaml']) {
      await mine.change(`  # - ${name}`, `  - ${name}`, 'service');
    }
    const objects = ['model', 'service', 'monitoring', 'batch', 'batch/merge'].flatMap((part) =>
      mine.build(`deploy/kubernetes/${part}`),
    );
    for (const object of objects) {
      if (definitions === undefined && foreign.includes(object.kind)) continue;
      const path = join(temporary.path, `${object.kind}-${object.metadata.name}.yaml`);
      await writeFile(path, JSON.stringify(object));
    }
    await cp(join(folder, 'namespace.yaml'), join(temporary.path, 'namespace.yaml'));
    const flags = definitions === undefined ? [] : ['--local-crds', definitions];
    const { exitCode, stdout, stderr } = Bun.spawnSync([validator!, ...flags, temporary.path]);
    expect([exitCode, exitCode === 0 ? '' : `${stdout}${stderr}`]).toEqual([0, '']);
  });

  test.if(kustomize !== undefined)('work with the optional resources, in one namespace', async () => {
    await using mine = await operator();
    await mine.change('  - autoscale-by-cpu.yaml', '  # - autoscale-by-cpu.yaml', 'service');
    for (const name of ['autoscale-by-queue.yaml', 'http-route.yaml']) {
      await mine.change(`  # - ${name}`, `  - ${name}`, 'service');
    }
    const objects = ['model', 'service', 'monitoring'].flatMap((part) =>
      mine.build(`deploy/kubernetes/${part}`),
    );
    expect([...new Set(objects.map(({ kind }) => kind))].toSorted()).toEqual([
      ...['ConfigMap', 'Deployment', 'HTTPRoute', 'Job', 'NetworkPolicy', 'PersistentVolumeClaim'],
      ...['PodDisruptionBudget', 'PodMonitor', 'PrometheusRule', 'ScaledObject', 'Service'],
    ]);
    expect(objects.every(({ metadata }) => metadata.namespace === 'classify-images')).toBe(true);
  });
});
