/** How a file's tensors make one of the reference's weights. */
export interface WeightSource {
  /** Tensors of the file, stacked along the first axis. */
  readonly names: readonly string[];
  /** Whether each is the transpose of what the reference has. */
  readonly transposed: boolean;
}

/** Which names a file uses for the reference's weights. */
export interface WeightNaming {
  /** Where the weight of that name in the reference comes from. */
  source(name: string): WeightSource;
  /** Matches the tensors of a tower's layers; the first group is the layer's number. */
  readonly visionLayer: RegExp;
  readonly textLayer: RegExp;
}

/** The names of the reference's `model.py`. */
export const referenceNaming: WeightNaming = {
  source: (name) => ({ names: [name], transposed: false }),
  visionLayer: /^visual\.transformer\.resblocks\.(\d+)\./,
  textLayer: /^transformer\.resblocks\.(\d+)\./,
};

/** The names of OpenCLIP's `CustomTextCLIP`: the text tower is a module of its own. */
export const customTextNaming: WeightNaming = {
  source(name) {
    const isShared = name.startsWith('visual.') || name === 'logit_scale';
    return { names: [isShared ? name : `text.${name}`], transposed: false };
  },
  visionLayer: referenceNaming.visionLayer,
  textLayer: /^text\.transformer\.resblocks\.(\d+)\./,
};
