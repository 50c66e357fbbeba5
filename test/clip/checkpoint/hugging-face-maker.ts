import type { MadeTensor, MadeTensors } from './checkpoint-maker.ts';

/** The weights as transformers' `convert_clip_original_pytorch_to_hf.py` arranges them. */
export function toHuggingFace(weights: MadeTensors): Map<string, MadeTensor> {
  const result = new Map<string, MadeTensor>();
  const matrix = ({ shape: [rows = 0, columns = 0], values }: MadeTensor): MadeTensor => ({
    shape: [columns, rows],
    values: values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!),
  });
  const third = ({ shape: [rows = 0, ...rest], values }: MadeTensor, part: number): MadeTensor => ({
    shape: [rows / 3, ...rest],
    values: values.slice((part * values.length) / 3, ((part + 1) * values.length) / 3),
  });
  const renames: readonly (readonly [RegExp, string])[] = [
    [/^visual\.transformer\.resblocks\./, 'vision_model.encoder.layers.'],
    [/^transformer\.resblocks\./, 'text_model.encoder.layers.'],
    [/^visual\.class_embedding/, 'vision_model.embeddings.class_embedding'],
    [/^visual\.conv1/, 'vision_model.embeddings.patch_embedding'],
    [/^visual\.positional_embedding/, 'vision_model.embeddings.position_embedding.weight'],
    [/^visual\.ln_pre/, 'vision_model.pre_layrnorm'],
    [/^visual\.ln_post/, 'vision_model.post_layernorm'],
    [/^token_embedding/, 'text_model.embeddings.token_embedding'],
    [/^positional_embedding/, 'text_model.embeddings.position_embedding.weight'],
    [/^ln_final/, 'text_model.final_layer_norm'],
    [/ln_([12])/, 'layer_norm$1'],
    [/mlp\.c_fc/, 'mlp.fc1'],
    [/mlp\.c_proj/, 'mlp.fc2'],
    [/attn\./, 'self_attn.'],
  ];
  for (const [name, made] of weights) {
    const renamed = renames.reduce(
      (text, [pattern, replacement]) => text.replace(pattern, replacement),
      name,
    );
    if (name === 'text_projection') result.set('text_projection.weight', matrix(made));
    else if (name === 'visual.proj') result.set('visual_projection.weight', matrix(made));
    else if (renamed.includes('in_proj_')) {
      for (const [part, letter] of ['q', 'k', 'v'].entries()) {
        result.set(renamed.replace('in_proj_', `${letter}_proj.`), third(made, part));
      }
    } else result.set(renamed, made);
  }
  result.set('text_model.embeddings.position_ids', {
    shape: [1, 7],
    values: [0, 1, 2, 3, 4, 5, 6],
    type: 'int64',
  });
  return result;
}
