import type { Config } from '../../config.ts';
import type { Precision } from '../graph/compiled-model.ts';
import { ModelStoreError } from './model-store-error.ts';

/**
 * The precision a model is compiled in.
 * @throws ModelStoreError precision_unavailable
 */
export function choosePrecision(setting: Config['model']['precision']): Precision {
  switch (setting) {
    case 'auto':
    case 'fp32':
      return 'fp32';
    case 'int8':
      throw new ModelStoreError(
        'precision_unavailable',
        'CLIP_PRECISION=int8 is not available in this version. Accepted are: auto, fp32.',
      );
  }
}
