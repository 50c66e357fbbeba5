import { describe, expect, test } from 'bun:test';
import { CheckpointError } from '../../../src/clip/checkpoint/checkpoint.ts';
import { PickleGlobal, type PickleVocabulary, readPickle } from '../../../src/clip/checkpoint/pickle.ts';

/** Knows `m.list`, which takes its operands as a list, and `m.name`, which is only a name. */
const vocabulary: PickleVocabulary = {
  resolve(module, name) {
    if (module === 'm' && name === 'list') return new PickleGlobal('m.list', (operands) => [...operands]);
    if (module === 'm' && name === 'name') return new PickleGlobal('m.name');
    throw new CheckpointError(`refused ${module}.${name}`);
  },
  load: (id) => ['loaded', id],
};

/** Latin-1 text is the tersest way to write opcodes. */
const read = (opcodes: string) => readPickle(Buffer.from(opcodes, 'latin1'), vocabulary);

describe('reads', () => {
  test.each<[string, string, unknown]>([
    ['None and booleans', '(N\x88\x89t.', [null, true, false]],
    ['bytes and words', '(K\xffM\xff\xff\x4a\xff\xff\xff\xfft.', [255, 65535, -1]],
    [
      'longs',
      '(\x8a\x00\x8a\x01\xff\x8a\x05\x00\x00\x00\x00\x01\x8a\x02\x00\x80t.',
      [0, -1, 2 ** 32, -32768],
    ],
    ['longs that are no safe number', '\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.', 2n ** 63n - 1n],
    ['floats', 'G\x3f\xf8\x00\x00\x00\x00\x00\x00.', 1.5],
    ['strings of both length fields', '(X\x02\x00\x00\x00\xc3\xa9\x8c\x01bt.', ['é', 'b']],
    ['tuples', '()K\x01\x85K\x01K\x02\x86K\x01K\x02K\x03\x87t.', [[], [1], [1, 2], [1, 2, 3]]],
    ['lists', '(]K\x01a](K\x01K\x02et.', [[1], [1, 2]]],
    [
      'dictionaries',
      '(}K\x01K\x02s}(K\x01K\x02K\x03K\x04ut.',
      [
        new Map([[1, 2]]),
        new Map([
          [1, 2],
          [3, 4],
        ]),
      ],
    ],
    ['the memo', '(K\x07q\x00K\x08r\x00\x01\x00\x00h\x00j\x00\x01\x00\x00t.', [7, 8, 7, 8]],
    ['the memo without indices', '(K\x07\x94K\x08\x94h\x01t.', [7, 8, 8]],
    ['protocol and frame', '\x80\x05\x95\x02\x00\x00\x00\x00\x00\x00\x00K\x01.', 1],
    ['names', '(cm\nlist\n(K\x01tR\x8c\x01m\x8c\x04list\x93)\x81t.', [[1], []]],
    ['persistent ids', 'K\x05Q.', ['loaded', 5]],
    ['attributes of a dictionary, which are not kept', '}}(K\x01K\x02ub.', new Map()],
  ])('%s', (_, opcodes, value) => {
    expect<unknown>(read(opcodes)).toEqual(value);
  });

  test('__proto__ as a key like any other', () => {
    const dictionary = read('}X\x09\x00\x00\x00__proto__}X\x01\x00\x00\x00aK\x01ss.');
    expect(dictionary).toEqual(new Map([['__proto__', new Map([['a', 1]])]]));
    expect('a' in {}).toBe(false);
  });

  test('a list that contains itself', () => {
    const list = read(']q\x00h\x00a.') as unknown[];
    expect(list[0]).toBe(list);
  });
});

describe('refuses', () => {
  test.each([
    ['a name that is not known', 'cos\nsystem\n.', 'refused os.system'],
    ['an end without a value', '.', 'takes from an empty stack'],
    ['no end', 'K\x01', 'is cut short'],
    ['an empty pickle', '', 'is cut short'],
    ['a string longer than the pickle', 'X\xff\xff\xff\xff.', 'is cut short: 4294967295 bytes'],
    ['a number longer than sense', '\x8a\xff.', 'a number of 255 bytes'],
    ['a line without end', 'cos', 'a line without end'],
    ['a number as text', 'I7\n.', 'holds the opcode 73'],
    ['a set', '\x8f.', 'holds the opcode 143'],
    ['a protocol to come', '\x80\x06.', 'protocol 6'],
    ['an unknown opcode', '\xff.', 'holds the opcode 255'],
    ['an extension', '\x82\x01.', 'holds the opcode 130'],
    ['an old-style instance', '(ios\nsystem\n.', 'holds the opcode 105'],
    ['an old-style object', '(cm\nlist\no.', 'holds the opcode 111'],
    ['a value from below a mark', 'K\x01(\x85.', 'takes from an empty stack'],
    ['a missing mark', 'K\x01t.', 'has no mark where one is needed'],
    ['an empty memo', 'h\x05.', 'memo 5, which is empty'],
    ['appending to a number', 'K\x01K\x02a.', 'appends to something that is not a list'],
    ['items of a list', ']K\x01K\x02s.', 'sets items of something that is not a dictionary'],
    ['a key without a value', '}(K\x01u.', 'a key without a value'],
    ['calling a number', 'K\x01)R.', 'calls something that is not a name'],
    ['calling a name that cannot be called', 'cm\nname\n)R.', 'calls "m.name", which cannot be called'],
    ['calling without operands', 'cm\nlist\nK\x01R.', 'without operands'],
    ['a name made of numbers', 'K\x01K\x02\x93.', 'has a name that is not text'],
    ['state for a number', 'K\x01}b.', 'gives state to a plain value'],
  ])('%s', (_, opcodes, sentence) => {
    expect(() => read(opcodes)).toThrow(CheckpointError);
    expect(() => read(opcodes)).toThrow(sentence);
  });

  test('more operations than any checkpoint has', () => {
    const bomb = Buffer.alloc(2 ** 22, '}');
    expect(() => readPickle(bomb, vocabulary)).toThrow('more than 500000 operations');
  });
});
