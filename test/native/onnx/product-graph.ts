import { join } from 'node:path';
import { GraphBuilder, WeightFile } from '../../../src/clip/graph/graph-builder.ts';

/** x [N, 2] float32 → y [N, 2] = x · [[1, 2], [3, 4]] */
export async function writeProductGraph(directory: string): Promise<string> {
  await using weightFile = await WeightFile.create(join(directory, 'product.weights'));
  const graph = new GraphBuilder('product', weightFile, 'product.weights');
  const x = graph.input('x', 'float32', ['N', 2]);
  const weight = await graph.weight('weight', [2, 2], Float32Array.of(1, 2, 3, 4));
  graph.output(graph.node('y', 'MatMul', [x, weight]), 'float32', ['N', 2]);
  const path = join(directory, 'product.onnx');
  await Bun.write(path, graph.encode());
  return path;
}
