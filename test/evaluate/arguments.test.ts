import { describe, expect, test } from 'bun:test';
import { type EvaluateCommand, help, parseEvaluateCommand } from '../../src/evaluate/arguments.ts';

const parse = (...argv: readonly string[]) => parseEvaluateCommand(['photos', ...argv]) as EvaluateCommand;

describe('the arguments', () => {
  test('measure everything by default', () => {
    const { templates, ...command } = parse();
    expect(command).toMatchObject({ folder: 'photos', precisions: undefined, maxWrong: 0.05, isJson: false });
    expect(templates.map(({ name }) => name)).toEqual(['none', 'photo', 'ensemble']);
    expect(templates[2]?.sentences).toHaveLength(7);
  });

  test('choose what is measured, in the order of preference', () => {
    const { templates, precisions } = parse(
      ...['--template', 'a drawing of a {}', '--template', 'photo', '--template', 'none'],
      ...['--precision', 'int8', '--precision', 'fp32'],
    );
    expect(precisions).toEqual(['fp32', 'int8']);
    expect(templates).toEqual([
      { name: 'none', sentences: ['{}'] },
      { name: 'photo', sentences: ['a photo of a {}'] },
      { name: 'a drawing of a {}', sentences: ['a drawing of a {}'] },
    ]);
  });

  test('are read by the rules of the contract', () => {
    expect(parse('--background', 'white').background).toBe('#ffffff');
    expect(parse('--max-wrong', '2.5').maxWrong).toBe(0.025);
  });

  const refused: readonly (readonly [argv: readonly string[], sentence: string])[] = [
    [['more'], '2 folders are given; one is accepted, with subfolders.'],
    [['--max-wrong', '101'], '--max-wrong must be a number from 0 to 100, in percent.'],
    [['--max-wrong', 'few'], '--max-wrong must be a number from 0 to 100, in percent.'],
    [['--precision', 'int4'], '--precision "int4" is unknown (known: fp32, int8).'],
    [['--fit', 'squash'], '--fit "squash" is unknown (known: crop'],
    [['--template', 'a photo'], '--template must hold {} exactly once'],
    [['--background', 'clear'], '--background must be a colour'],
    [['--none', 'a', '--none', 'b'], '--none is given 2 times; it is accepted once.'],
    [['--output', ''], '--output is empty.'],
    [['--jason'], "Unknown option '--jason'; see --help."],
  ];
  for (const [argv, sentence] of refused) {
    test(`refuse ${argv.join(' ')}`, () => {
      expect(() => parse(...argv)).toThrow(sentence);
    });
  }

  test('need a folder', () => {
    expect(() => parseEvaluateCommand([])).toThrow('No folder given.');
    expect(parseEvaluateCommand(['-h'])).toBe('help');
  });

  test('are explained in 80 columns', () => {
    expect(Math.max(...help.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80);
  });
});
