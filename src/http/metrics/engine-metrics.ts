import { Counter, Histogram, type Registry } from 'prom-client';
import type { EngineObserver } from '../../engine-observer.ts';

/** A small picture takes a millisecond; one of 100 megapixels a second, and it may wait for memory. */
const DECODE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** A batch takes from some milliseconds (one picture, int8) to seconds (eight, a large model, one core). */
const BATCH_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Up to 8 pictures, or up to 32 texts. */
const BATCH_ITEMS = [1, 2, 3, 4, 5, 6, 7, 8, 16, 32];

const encoders = ['image', 'text'] as const;

/** What the engine does. */
export function createEngineMetrics(registry: Registry): EngineObserver {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  const byEncoder = (name: string, help: string, buckets: number[]) => {
    const histogram = new Histogram({ name, help, buckets, labelNames: ['encoder'], registers });
    for (const encoder of encoders) histogram.zero({ encoder });
    return histogram;
  };

  const decodeSeconds = new Histogram({
    name: 'classify_images_decode_duration_seconds',
    help: 'Decoding one picture, waiting for memory included.',
    buckets: DECODE_SECONDS,
    registers,
  });
  const batchWait = byEncoder(
    'classify_images_batch_wait_seconds',
    'How long the first item of a batch had waited for it.',
    BATCH_SECONDS,
  );
  const batchSeconds = byEncoder(
    'classify_images_inference_duration_seconds',
    'One run of the model, over a whole batch.',
    BATCH_SECONDS,
  );
  const batchItems = byEncoder(
    'classify_images_batch_size',
    'Pictures and frames, or texts, in one run of the model.',
    BATCH_ITEMS,
  );
  const pictures = counter('classify_images_pictures_total', 'Pictures that were encoded.');
  const broken = new Counter({
    name: 'classify_images_pictures_broken_total',
    help: 'Pictures that could not be used, by why.',
    labelNames: ['code'],
    registers,
  });
  const frames = counter('classify_images_frames_total', 'Frames of videos that were encoded.');
  const textHits = counter('classify_images_text_cache_hits_total', 'Texts whose embedding was known.');
  const textMisses = counter(
    'classify_images_text_cache_misses_total',
    'Texts that had to be encoded, that of the warm-up included.',
  );
  const breakdowns = counter(
    'classify_images_inference_breakdowns_total',
    'How often the inference thread ended and was started again.',
  );

  return {
    pictureDecoded: (ms) => decodeSeconds.observe(ms / 1000),
    pictureEncoded: () => pictures.inc(),
    pictureBroken: (code) => broken.inc({ code }),
    framesEncoded: (count) => frames.inc(count),
    textsLookedUp(known, unknown) {
      textHits.inc(known);
      textMisses.inc(unknown);
    },
    batchRun(encoder, items, ms, waitedMs) {
      batchItems.observe({ encoder }, items);
      batchSeconds.observe({ encoder }, ms / 1000);
      batchWait.observe({ encoder }, waitedMs / 1000);
    },
    inferenceBrokeDown: () => breakdowns.inc(),
  };
}
