import type { FrameForm } from './frame-filter.ts';

/** Bicubic as the reference resizes; rounding to the nearest instead of down keeps flat colours exact. */
export const SCALE_FLAGS = 'flags=bicubic+accurate_rnd';

/**
 * Brings HDR into what pictures can show: BT.2390's curve, which leaves what is no brighter than white
 * paper nearly alone, and BT.709's primaries. The filter takes 10-bit 4:2:0.
 */
export function toneMapFilters({ highDynamicRange }: FrameForm): readonly string[] {
  if (!highDynamicRange) return [];
  return [
    'format=yuv420p10le',
    'tonemapx=tonemap=bt2390:desat=0:peak=100:transfer=bt709:matrix=bt709:primaries=bt709:range=tv:format=yuv420p',
  ];
}
