import { describe, expect, test } from 'bun:test';
import {
  archiveOf,
  rebuild,
  smallWeights,
  storageType,
  torchArchive,
  type Wrap,
} from './checkpoint-maker.ts';
import { type Python, pickle } from './pickle-writer.ts';
import { refusalOf } from './refusal.ts';

const weights = smallWeights();

/** A value's opcodes without the protocol before and the stop after. */
const opcodes = (value: Python): number[] => [...pickle(value).subarray(2, -1)];

describe('pickles that name what is not a weight', () => {
  const refusedCall = (module: string, name: string): Python => ({
    reduce: [{ global: [module, name] }, ['x']],
  });

  test.each([
    ['posix', 'system'],
    ['os', 'system'],
    ['builtins', 'eval'],
    ['__builtin__', 'getattr'],
    ['torch.storage', '_load_from_bytes'],
    ['torch._utils', '_rebuild_sparse_tensor'],
    ['torch', '__torch__'],
    ['__torch__evil', 'Module'],
    ['numpy.core.multiarray', '_reconstruct'],
    ['clip.model', 'CLIP'],
  ])('%s.%s is refused by name', async (module, name) => {
    for (const protocol of [2, 4]) {
      const wrap: Wrap = (tensors) => ({ dict: [['hook', refusedCall(module, name)], ...tensors] });
      const sentence = await refusalOf(torchArchive(weights, wrap, { protocol }));
      expect(sentence).toContain(
        `its pickle names "${module}.${name}", which is neither a tensor nor a plain container`,
      );
    }
  });

  test('a name is refused even where it is not called', async () => {
    expect(await refusalOf(archiveOf(pickle({ global: ['os', 'system'] }), new Map()))).toContain(
      '"os.system"',
    );
  });

  test('a name with control characters is shown escaped, and not whole', async () => {
    const name = `\u001b[2J${'x'.repeat(3000)}`;
    const sentence = await refusalOf(archiveOf(pickle({ global: ['os', name] }, 4), new Map()));
    expect(sentence).toContain('"os.\\u001b[2Jxxx');
    expect(sentence.length).toBeLessThan(500);
  });
});

describe('tensors that claim more than is there', () => {
  /** A weight that is rebuilt from these operands; its storage holds four floats. */
  const refusalOfTensor = (operands: readonly Python[]): Promise<string> =>
    refusalOf(
      archiveOf(pickle({ dict: [['weight', rebuild(operands)]] }), new Map([['0', new Uint8Array(16)]])),
    );
  const storage = (count: Python = 4, key: Python = '0', type: Python = storageType('float32')): Python => ({
    persistent: { tuple: ['storage', type, key, 'cpu', count] },
  });
  const shape = (...sizes: Python[]): Python => ({ tuple: sizes });

  test.each<[string, readonly Python[], string]>([
    [
      'a shape beyond the storage',
      [storage(), 0, shape(5), shape(1)],
      'reaches beyond its storage of 4 values',
    ],
    [
      'an offset beyond the storage',
      [storage(), 4, shape(1), shape(1)],
      'reaches beyond its storage of 4 values',
    ],
    [
      'a stride beyond the storage',
      [storage(), 0, shape(2), shape(4)],
      'reaches beyond its storage of 4 values',
    ],
    ['a shape past all numbers', [storage(), 0, shape(2 ** 52, 2 ** 52), shape(1, 1)], 'reaches beyond'],
    [
      'a repetition without end',
      [storage(), 0, shape(2 ** 40), shape(0)],
      "repeat its values beyond the file's own size",
    ],
    ['overlapping rows', [storage(), 0, shape(3, 2), shape(1, 1)], 'has rows that overlap'],
    ['a negative size', [storage(), 0, shape(-1), shape(1)], 'has an impossible layout'],
    ['a negative stride', [storage(), 3, shape(4), shape(-1)], 'has an impossible layout'],
    ['a negative offset', [storage(), -1, shape(1), shape(1)], 'has an impossible layout'],
    ['a size that is no number', [storage(), 0, shape('1'), shape(1)], 'has an impossible layout'],
    ['more strides than sizes', [storage(), 0, shape(1), shape(1, 1)], 'has 1 dimensions with 2 strides'],
    [
      'too many dimensions',
      [storage(), 0, shape(...new Array(9).fill(1)), shape(...new Array(9).fill(1))],
      'a tensor of 9 dimensions',
    ],
    [
      'a storage larger than its record',
      [storage(5), 0, shape(1), shape(1)],
      'should hold 20 bytes, but its record has 16',
    ],
    ['a storage of an impossible size', [storage(-4), 0, shape(1), shape(1)], 'of an impossible size'],
    [
      'a storage that is missing',
      [storage(4, '../0'), 0, shape(1), shape(1)],
      'its storage "../0" is missing',
    ],
    [
      'a storage of no type',
      [storage(4, '0', 'float'), 0, shape(1), shape(1)],
      'something other than a storage',
    ],
    ['no storage', ['0', 0, shape(1), shape(1)], 'a tensor without a storage'],
    ['no shape', [storage(), 0], 'a tensor without a shape'],
    ['no offset', [storage(), null, shape(1), shape(1)], 'a tensor without an offset'],
    [
      'a negative view',
      [storage(), 0, shape(1), shape(1), false, null, { dict: [['neg', true]] }],
      'a view with metadata',
    ],
  ])('%s', async (_, operands, sentence) => {
    expect(await refusalOfTensor(operands)).toContain(sentence);
  });
});

test('modules that contain themselves are refused', async () => {
  // An instance, memorised, whose state has that instance as its attribute.
  const own: Python = {
    instance: ['__torch__', 'A'],
    state: { raw: [0x72, 1, 0, 0, 0, 0x7d, 0x58, 1, 0, 0, 0, 0x61, 0x6a, 1, 0, 0, 0, 0x73] },
  };
  expect(await refusalOf(archiveOf(pickle(own), new Map()))).toContain('contain each other without end');
});

test('modules that double at every level are refused', async () => {
  let tree: Python = { instance: ['__torch__', 'Leaf'], state: { dict: [] } };
  for (let level = 0; level < 28; level++) {
    tree = { instance: ['__torch__', 'Node'], state: doubled(tree, level) };
  }
  expect(await refusalOf(archiveOf(pickle(tree), new Map()))).toContain('contain each other without end');
});

/** {'left': child, 'right': the same child}, through the memo. */
function doubled(child: Python, level: number): Python {
  const put = [0x72, level, 1, 0, 0];
  const get = [0x6a, level, 1, 0, 0];
  return {
    raw: [0x7d, 0x28, ...opcodes('left'), ...opcodes(child), ...put, ...opcodes('right'), ...get, 0x75],
  };
}

describe('one large value referred to many times is not copied each time', () => {
  const COUNT = 30_000;
  const large = [
    ...opcodes({ dict: Array.from({ length: COUNT }, (_, i) => [i, null] as const) }),
    0x72,
    0,
    1,
    0,
    0,
  ];
  const recall = [0x6a, 0, 1, 0, 0];
  const many = (value: readonly number[]): Python => ({
    raw: [0x28, ...large, ...Array.from({ length: COUNT }, () => value).flat(), 0x74],
  });
  const refused = (value: Python): Promise<string> => refusalOf(archiveOf(pickle(value), new Map()));

  test('as the state of modules', async () => {
    const module = opcodes({ instance: ['__torch__', 'M'] });
    expect(await refused(many([...module, ...recall, 0x62]))).toContain('neither a TorchScript module nor');
  });

  test('as the items of dictionaries', async () => {
    const dictionary = [...opcodes({ global: ['collections', 'OrderedDict'] }), ...recall, 0x85, 0x52];
    expect(await refused(many(dictionary))).toContain('a dictionary made of something else');
  });
});
