import { describe, expect, test } from 'bun:test';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import packageJson from '../../package.json';
import { parseCategories } from '../../src/classify/categories.ts';
import { parseCommand } from '../../src/cli/arguments.ts';
import { parseConfig, parseStorageConfig } from '../../src/config.ts';

const repository = join(import.meta.dir, '../..');
const folder = join(repository, 'deploy/kubernetes/batch');

const load = async (path: string): Promise<unknown> =>
  Bun.YAML.parse(await readFile(join(folder, path), 'utf8'));

const variable = v.object({
  name: v.string(),
  value: v.optional(v.string()),
  valueFrom: v.optional(v.object({ secretKeyRef: v.object({ name: v.string(), key: v.string() }) })),
});
const container = v.looseObject({
  image: v.string(),
  command: v.tuple([v.literal('bun'), v.string()]),
  args: v.array(v.string()),
  envFrom: v.array(v.object({ configMapRef: v.object({ name: v.string() }) })),
  env: v.array(variable),
  resources: v.object({
    requests: v.record(v.string(), v.string()),
    limits: v.record(v.string(), v.string()),
  }),
  securityContext: v.object({
    allowPrivilegeEscalation: v.literal(false),
    readOnlyRootFilesystem: v.literal(true),
    capabilities: v.object({ drop: v.tuple([v.literal('ALL')]) }),
  }),
  volumeMounts: v.array(
    v.object({ name: v.string(), mountPath: v.string(), readOnly: v.optional(v.boolean()) }),
  ),
});
const job = v.looseObject({
  kind: v.literal('Job'),
  spec: v.looseObject({
    completions: v.optional(v.number()),
    template: v.looseObject({
      metadata: v.object({ labels: v.record(v.string(), v.string()) }),
      spec: v.looseObject({
        restartPolicy: v.literal('Never'),
        securityContext: v.looseObject({
          runAsNonRoot: v.literal(true),
          runAsUser: v.literal(1000),
          seccompProfile: v.object({ type: v.literal('RuntimeDefault') }),
        }),
        containers: v.tuple([container]),
      }),
    }),
  }),
});
const component = v.looseObject({
  kind: v.literal('Component'),
  configMapGenerator: v.tuple([
    v.object({ name: v.string(), literals: v.array(v.string()) }),
    v.object({ name: v.string(), files: v.tuple([v.string()]) }),
  ]),
});

const kustomize = Bun.which('kustomize')
  ? ['kustomize', 'build']
  : Bun.which('kubectl')
    ? ['kubectl', 'kustomize']
    : undefined;

const jobOf = async (path: string) => v.parse(job, await load(path));
const run = async () => v.parse(component, await load('run/kustomization.yaml'));

async function settings(): Promise<Record<string, string>> {
  const [{ literals }] = (await run()).configMapGenerator;
  return Object.fromEntries(literals.map((literal) => literal.split(/=(.*)/).slice(0, 2)));
}

/** The arguments as the kubelet gives them to the command. */
async function argumentsOf(path: string, index = 0): Promise<readonly string[]> {
  const [{ args, env }] = (await jobOf(path)).spec.template.spec.containers;
  const values: Record<string, string | undefined> = {
    ...Object.fromEntries(env.map(({ name, value }) => [name, value])),
    ...(await settings()),
    JOB_COMPLETION_INDEX: String(index),
  };
  return args.map((argument) =>
    argument.replaceAll(/\$\((\w+)\)/g, (_, name: string) => values[name] ?? `$(${name})`),
  );
}

describe('the manifests of a batch', () => {
  test('name what is there, and use the settings last', async () => {
    for (const [part, components] of [
      ['.', ['run', '../settings']],
      ['merge', ['../run', '../../settings']],
    ] as const) {
      const written = v.parse(
        v.looseObject({ resources: v.array(v.string()), components: v.array(v.string()) }),
        await load(`${part}/kustomization.yaml`),
      );
      const entries = await readdir(join(folder, part), { withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
      expect([...written.resources, 'kustomization.yaml'].toSorted()).toEqual(files.toSorted());
      expect(written.components).toEqual([...components]);
    }
  });

  test('the settings rename the Job of the model only', async () => {
    expect(await load('../settings/kustomization.yaml')).toMatchObject({
      patches: [{ target: { kind: 'Job', name: 'classify-images-model' } }],
    });
  });

  test('each pod asks for its shard, of as many as there are', async () => {
    const { completions = 0 } = (await jobOf('job.yaml')).spec;
    expect(await load('job.yaml')).toMatchObject({ spec: { completionMode: 'Indexed' } });
    for (const index of [0, completions - 1]) {
      const command = parseCommand(await argumentsOf('job.yaml', index));
      expect(command).toMatchObject({
        task: 'shard',
        shard: { index, count: completions },
        paths: [(await settings()).PHOTOS],
        output: (await settings()).ANSWERS,
        partFormat: 'parquet',
      });
    }
    const past = await argumentsOf('job.yaml', completions);
    expect(() => parseCommand(past)).toThrow('--shard');
  });

  test('the merge takes the answers of the shards', async () => {
    const { ANSWERS, MERGED } = await settings();
    expect(parseCommand(await argumentsOf('merge/job.yaml'))).toMatchObject({
      task: 'merge',
      paths: [ANSWERS],
      output: MERGED,
    });
  });

  test('a shard that failed is tried again, unless its settings cannot be used', async () => {
    expect(await load('job.yaml')).toMatchObject({
      spec: {
        backoffLimitPerIndex: expect.any(Number),
        podReplacementPolicy: 'Failed',
        podFailurePolicy: {
          rules: [
            { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
            { action: 'FailIndex', onExitCodes: { operator: 'In', values: [2] } },
          ],
        },
      },
    });
    expect(await load('merge/job.yaml')).toMatchObject({
      spec: {
        podFailurePolicy: { rules: [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [2] } }] },
      },
    });
  });

  test('the categories are a list, where the shards look for them', async () => {
    const { files, name } = (await run()).configMapGenerator[1];
    const document = await readFile(join(folder, 'run', files[0]));
    expect(parseCategories(document, 1000).labels.length).toBeGreaterThan(1);
    const { containers, volumes } = (await jobOf('job.yaml')).spec.template.spec;
    const [{ volumeMounts, args }] = containers;
    const mount = volumeMounts.find(({ mountPath }) => args.includes(`${mountPath}/${files[0]}`));
    expect(volumes).toContainEqual({ name: mount?.name ?? '', configMap: { name } });
  });

  test.each(['job.yaml', 'merge/job.yaml'])('%s: image, settings, secrets, memory and disk', async (path) => {
    const { metadata, spec } = (await jobOf(path)).spec.template;
    const [{ image, command, env, envFrom, resources }] = spec.containers;
    expect(image).toBe(`classify-images:${packageJson.version}`);
    expect(await Bun.file(join(repository, command[1])).exists()).toBe(true);
    expect(envFrom.map(({ configMapRef }) => configMapRef.name)).toContain('classify-images-batch');
    const secrets = env.filter(({ valueFrom }) => valueFrom);
    const values = Object.fromEntries(secrets.map(({ name }) => [name, name.toLowerCase()]));
    expect(parseStorageConfig({ ...values, ...(await settings()) })).toEqual({
      accessKeyId: 'aws_access_key_id',
      secretAccessKey: 'aws_secret_access_key',
      region: 'us-east-1',
    });
    const others = env.filter(({ value }) => value !== undefined);
    expect(() =>
      parseConfig(Object.fromEntries(others.map(({ name, value }) => [name, value])), []),
    ).not.toThrow();
    expect(resources.requests.memory).toBe(resources.limits.memory as string);
    expect(resources.requests['ephemeral-storage']).toMatch(/^\d+Gi$/);
    expect(await load('network-policy.yaml')).toMatchObject({
      spec: { podSelector: { matchLabels: metadata.labels } },
    });
  });

  test('the model’s volume is only read', async () => {
    const [{ volumeMounts }] = (await jobOf('job.yaml')).spec.template.spec.containers;
    expect(volumeMounts).toContainEqual({ name: 'model', mountPath: '/.cache/clip', readOnly: true });
  });

  test.if(kustomize !== undefined)('kustomize gives a run its names, in one namespace', () => {
    for (const [part, kinds] of [
      ['.', ['ConfigMap', 'ConfigMap', 'ConfigMap', 'Job', 'NetworkPolicy']],
      ['merge', ['ConfigMap', 'ConfigMap', 'ConfigMap', 'Job']],
    ] as const) {
      const { stdout } = Bun.spawnSync([...(kustomize ?? []), join(folder, part)]);
      const objects = v.parse(
        v.array(
          v.looseObject({
            kind: v.string(),
            metadata: v.looseObject({ name: v.string(), namespace: v.literal('classify-images') }),
          }),
        ),
        Bun.YAML.parse(stdout.toString()),
      );
      expect(objects.map(({ kind }) => kind)).toEqual([...kinds]);
      const maps = objects.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata }) => metadata.name);
      const [written] = objects.filter(({ kind }) => kind === 'Job');
      expect(written?.metadata.name).toMatch(/^classify-images-(?:batch|merge)-run-1$/);
      const { spec } = v.parse(job, written).spec.template;
      for (const { configMapRef } of spec.containers[0].envFrom) expect(maps).toContain(configMapRef.name);
    }
  });
});
