/** The number format of a compiled model's linear layers. */
export const precisions = ['fp32', 'int8'] as const;
export type Precision = (typeof precisions)[number];

/** `auto`: int8 if it answers as fp32 does, otherwise fp32. */
export const precisionSettings = ['auto', ...precisions] as const;
export type PrecisionSetting = (typeof precisionSettings)[number];
