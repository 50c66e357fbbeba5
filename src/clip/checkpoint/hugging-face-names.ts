import type { WeightNaming, WeightSource } from './weight-names.ts';

/** Weights outside of the layers: the reference's name, then that of transformers' `modeling_clip.py`. */
const outerNames: ReadonlyMap<string, string> = new Map([
  ['logit_scale', 'logit_scale'],
  ['text_projection', 'text_projection.weight'],
  ['visual.proj', 'visual_projection.weight'],
  ['token_embedding.weight', 'text_model.embeddings.token_embedding.weight'],
  ['positional_embedding', 'text_model.embeddings.position_embedding.weight'],
  ['ln_final.weight', 'text_model.final_layer_norm.weight'],
  ['ln_final.bias', 'text_model.final_layer_norm.bias'],
  ['visual.class_embedding', 'vision_model.embeddings.class_embedding'],
  ['visual.conv1.weight', 'vision_model.embeddings.patch_embedding.weight'],
  ['visual.positional_embedding', 'vision_model.embeddings.position_embedding.weight'],
  // Spelt so in every published file.
  ['visual.ln_pre.weight', 'vision_model.pre_layrnorm.weight'],
  ['visual.ln_pre.bias', 'vision_model.pre_layrnorm.bias'],
  ['visual.ln_post.weight', 'vision_model.post_layernorm.weight'],
  ['visual.ln_post.bias', 'vision_model.post_layernorm.bias'],
]);

/** Linear layers there hold [out, in], where the reference multiplies by [in, out]. */
const projections: ReadonlySet<string> = new Set(['text_projection', 'visual.proj']);

/** Modules of a layer. */
const layerModules: ReadonlyMap<string, string> = new Map([
  ['attn.out_proj', 'self_attn.out_proj'],
  ['ln_1', 'layer_norm1'],
  ['ln_2', 'layer_norm2'],
  ['mlp.c_fc', 'mlp.fc1'],
  ['mlp.c_proj', 'mlp.fc2'],
]);

const LAYER_WEIGHT = /^(visual\.)?transformer\.resblocks\.(\d+)\.(.+)[._](weight|bias)$/;

/** The names of Hugging Face's CLIPModel. `position_ids`, which older files hold too, are of no use here. */
export const huggingFaceNaming: WeightNaming = {
  source,
  visionLayer: /^vision_model\.encoder\.layers\.(\d+)\./,
  textLayer: /^text_model\.encoder\.layers\.(\d+)\./,
};

function source(name: string): WeightSource {
  const outer = outerNames.get(name);
  if (outer !== undefined) return { names: [outer], transposed: projections.has(name) };
  const [, visual, layer, module = '', part] = LAYER_WEIGHT.exec(name) ?? [];
  const prefix = `${visual === undefined ? 'text' : 'vision'}_model.encoder.layers.${layer}`;
  if (module === 'attn.in_proj') {
    const names = ['q', 'k', 'v'].map((letter) => `${prefix}.self_attn.${letter}_proj.${part}`);
    return { names, transposed: false };
  }
  const inner = layerModules.get(module);
  if (inner === undefined)
    throw new Error(`This is a bug: no tensor of Hugging Face's layout makes ${name}.`);
  return { names: [`${prefix}.${inner}.${part}`], transposed: false };
}
