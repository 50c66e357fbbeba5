import { describe, expect, test } from 'bun:test';
import {
  DEMO_MODEL_NAME,
  demoCheckpoint,
  demoCheckpointSha256,
} from '../../../src/clip/demo/demo-checkpoint.ts';
import { parameterShapes } from '../graph/random-checkpoint.ts';
import { dot, referenceForward } from '../graph/reference-forward.ts';
import { openDemoModel } from './demo-model.ts';
import { divided } from './pictures.ts';

describe('the demo checkpoint', () => {
  test('has the parameters of the reference, in their shapes, and no others', () => {
    using checkpoint = demoCheckpoint();
    const shapes = new Map([...checkpoint.weights].map(([name, { shape }]) => [name, shape]));
    expect(shapes).toEqual(parameterShapes(checkpoint.architecture) as Map<string, number[]>);
  });

  test('is of the kind that OpenAI published: QuickGELU, heads of 64, patches of 32, 77 tokens', () => {
    using checkpoint = demoCheckpoint();
    const { activation, vision, text } = checkpoint.architecture;
    expect(checkpoint.layout).toBe('constructed');
    expect(activation).toBe('quick_gelu');
    expect(vision).toMatchObject({ imageResolution: 224, patchSize: 32, heads: vision.width / 64 });
    expect(text).toMatchObject({ contextLength: 77, vocabularySize: 49_408, heads: text.width / 64 });
  });

  test('reads as many finite values as a shape says, new ones each time', () => {
    using checkpoint = demoCheckpoint();
    for (const [name, { shape, read }] of checkpoint.weights) {
      const values = read();
      expect(values.length, name).toBe(shape.reduce((product, size) => product * size, 1));
      expect(values.every(Number.isFinite), name).toBe(true);
      values.fill(7);
      expect(read()[0], name).not.toBe(7);
    }
  });

  test('has a name and a sum that stays the same', () => {
    expect(DEMO_MODEL_NAME).toBe('demo');
    const sum = demoCheckpointSha256();
    expect(sum).toMatch(/^[0-9a-f]{64}$/);
    expect(demoCheckpointSha256()).toBe(sum);
  });

  test('gives through its compiled graphs what the reference gives', async () => {
    using checkpoint = demoCheckpoint();
    const reference = referenceForward(checkpoint);
    await using model = await openDemoModel();
    const picture = divided([200, 40, 40], [90, 160, 220], 0.4);
    const ids = [49_406, 736, 1615, 49_407];
    // Worst seen: 1 − 3e-7.
    expect(dot(await model.encodeImage(picture), reference.encodeImage(picture))).toBeGreaterThan(0.99999);
    expect(dot(await model.encodeText('red car'), reference.encodeText(ids))).toBeGreaterThan(0.99999);
  });
});
