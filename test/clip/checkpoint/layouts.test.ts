import { describe, expect, test } from 'bun:test';
import type { Checkpoint } from '../../../src/clip/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import type { ElementType } from '../../../src/clip/checkpoint/stored-tensor.ts';
import {
  type MadeTensor,
  type MadeTensors,
  moduleTree,
  smallArchitecture,
  smallWeights,
  stateDict,
  torchArchive,
  type Wrap,
} from './checkpoint-maker.ts';
import { safetensors } from './safetensors-writer.ts';
import { TemporaryFolder } from './temporary-folder.ts';

const weights = smallWeights();

const every = (change: (made: MadeTensor, name: string) => Partial<MadeTensor>): MadeTensors =>
  new Map([...weights].map(([name, made]) => [name, { ...made, ...change(made, name) }]));

/** Opens a file of these bytes and compares every weight with what was written. */
async function expectSmallClip(bytes: Uint8Array, layout: Checkpoint['layout']): Promise<void> {
  using folder = new TemporaryFolder();
  using checkpoint = await openCheckpoint(folder.write('checkpoint', bytes));
  expect(checkpoint.layout).toBe(layout);
  expect(checkpoint.architecture).toEqual(smallArchitecture);
  expect([...checkpoint.weights.keys()]).toEqual([...weights.keys()]);
  for (const [name, { shape, values }] of weights) {
    const weight = checkpoint.weights.get(name)!;
    expect(weight.shape).toEqual(shape);
    expect(
      Buffer.from(weight.read().buffer).equals(Buffer.from(Float32Array.from(values).buffer)),
      name,
    ).toBe(true);
  }
}

const plainDict: Wrap = (tensors) => ({ dict: [...tensors] });
const prefixed =
  (prefix: string): Wrap =>
  (tensors) =>
    stateDict(new Map([...tensors].map(([name, value]) => [`${prefix}${name}`, value])));

describe('TorchScript archives', () => {
  test('in half precision with float norms, as OpenAI published them', async () => {
    const half = every(({ shape }) => ({ type: shape.length > 1 ? 'float16' : 'float32' }));
    await expectSmallClip(torchArchive(half, moduleTree), 'torchscript');
  });

  test('with any name and depth of the folder', async () => {
    await expectSmallClip(torchArchive(weights, moduleTree, { folder: '中/a b' }), 'torchscript');
  });

  test('with records in any order', async () => {
    await expectSmallClip(torchArchive(weights, moduleTree, { reversed: true }), 'torchscript');
  });

  test('with 64-bit zip records and a comment', async () => {
    const comment = 'PK\x05\x06 is no end in a comment';
    await expectSmallClip(torchArchive(weights, moduleTree, { zip64: true, comment }), 'torchscript');
  });

  test('with code, constants and the pickle of an attached file', async () => {
    const extraRecords = ['code/__torch__.py', 'constants.pkl', 'extra/data.pkl'].map((name) => ({
      name: `archive/${name}`,
      bytes: new TextEncoder().encode('def forward(): pass'),
    }));
    await expectSmallClip(torchArchive(weights, moduleTree, { extraRecords }), 'torchscript');
  });

  test('with lists, tuples and typed lists among the attributes', async () => {
    const typed = (name: string) => ({ global: ['torch.jit._pickle', name] }) as const;
    const archive = torchArchive(weights, (tensors) =>
      moduleTree(
        new Map([
          ...tensors,
          ['sizes', { reduce: [typed('build_intlist'), [{ list: [1, 2 ** 40, -5] }]] }],
          [
            'tagged',
            { reduce: [typed('restore_type_tag'), [{ list: [0.5, null] }, 'List[Optional[float]]']] },
          ],
          ['pair', { tuple: ['a', true] }],
        ]),
      ),
    );
    await expectSmallClip(archive, 'torchscript');
  });
});

describe('dictionaries of weights', () => {
  test('as model.state_dict() is saved, with its version numbers', async () => {
    await expectSmallClip(torchArchive(weights, stateDict), 'state_dict');
  });

  test.each([3, 4, 5])('in pickle protocol %d', async (protocol) => {
    await expectSmallClip(torchArchive(weights, stateDict, { protocol }), 'state_dict');
  });

  test.each(['state_dict', 'model_state_dict', 'model'])(
    'inside of a training checkpoint, as %s',
    async (key) => {
      const wrap: Wrap = (tensors) => ({
        dict: [
          ['epoch', 3],
          [key, prefixed('module.')(tensors)],
          ['loss', 0.25],
        ],
      });
      await expectSmallClip(torchArchive(weights, wrap), 'state_dict');
    },
  );

  test.each(['module.', 'model.'])('under the prefix %s beside other names', async (prefix) => {
    const wrap: Wrap = (tensors) => prefixed(prefix)(new Map([...tensors, ['step', 1000]]));
    await expectSmallClip(torchArchive(weights, wrap), 'state_dict');
  });

  test('as parameters', async () => {
    const parameter = { global: ['torch._utils', '_rebuild_parameter'] } as const;
    const hooks = { reduce: [{ global: ['collections', 'OrderedDict'] }, []] } as const;
    const wrap: Wrap = (tensors) => ({
      dict: [...tensors].map(
        ([name, value]) => [name, { reduce: [parameter, [value, true, hooks]] }] as const,
      ),
    });
    await expectSmallClip(torchArchive(weights, wrap), 'state_dict');
  });

  test.each<ElementType>(['float16', 'bfloat16', 'float32', 'float64'])('in %s', async (type) => {
    await expectSmallClip(
      torchArchive(
        every(() => ({ type })),
        plainDict,
      ),
      'state_dict',
    );
  });

  test('with matrices stored column by column', async () => {
    const columnMajor = every(({ shape }) => ({ columnMajor: shape.length === 2 }));
    await expectSmallClip(torchArchive(columnMajor, plainDict), 'state_dict');
  });

  test('with tensors that begin inside of their storage', async () => {
    await expectSmallClip(
      torchArchive(
        every(() => ({ storageOffset: 5 })),
        plainDict,
      ),
      'state_dict',
    );
  });

  test('that names its byte order', async () => {
    await expectSmallClip(torchArchive(weights, plainDict, { byteOrder: 'little' }), 'state_dict');
  });

  test('with keys that mean something to JavaScript', async () => {
    const wrap: Wrap = (tensors) => ({
      dict: [
        ['__proto__', { dict: [['polluted', true]] }],
        ['constructor', [...tensors.values()][0]!],
        [7, null],
        ...tensors,
      ],
    });
    await expectSmallClip(torchArchive(weights, wrap), 'state_dict');
    expect('polluted' in {}).toBe(false);
  });

  test("as safetensors with the reference's names", async () => {
    await expectSmallClip(safetensors(weights), 'state_dict');
  });

  test('with logit_scale as a vector of one', async () => {
    const vector = every((_, name) => (name === 'logit_scale' ? { shape: [1] } : {}));
    await expectSmallClip(safetensors(vector), 'state_dict');
  });
});
