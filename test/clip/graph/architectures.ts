import type { ClipArchitecture } from '../../../src/clip/architecture.ts';

/** The smallest that has all parts: several patches, heads, layers and outputs of different widths. */
export const tinyArchitecture: ClipArchitecture = {
  embeddingDimension: 32,
  activation: 'quick_gelu',
  vision: { imageResolution: 16, patchSize: 8, width: 128, layers: 2, heads: 2 },
  text: { contextLength: 12, vocabularySize: 64, width: 64, layers: 2, heads: 1 },
};

/** ViT-B/32's own widths and lengths, which decide how ONNX Runtime splits the work, with fewer layers. */
export const shallowB32: ClipArchitecture = {
  embeddingDimension: 512,
  activation: 'quick_gelu',
  vision: { imageResolution: 224, patchSize: 32, width: 768, layers: 2, heads: 12 },
  text: { contextLength: 77, vocabularySize: 1000, width: 512, layers: 2, heads: 8 },
};
