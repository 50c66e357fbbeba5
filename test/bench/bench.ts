import { availableParallelism } from 'node:os';
import type { CompiledModel } from '../../src/clip/graph/compiled-model.ts';
import type { Precision } from '../../src/precision.ts';
import { type BenchModel, benchModel, compiledIn } from './model/compiled.ts';
import type { BenchOptions } from './options.ts';
import { givenPhotos, madePhotos, type PhotoKind, type PhotoSet } from './photos/photo-set.ts';
import type { Table } from './report/table.ts';

/** What all parts of a run share. */
export interface Sitting {
  readonly options: BenchOptions;
  /** One line about what happens now. */
  tell(line: string): void;
}

/** What those parts share that measure with a model of full size. */
export interface Bench extends Sitting {
  readonly model: BenchModel;
  /** In every precision that the service knows. */
  readonly compiled: ReadonlyMap<Precision, CompiledModel>;
  /** The one that the service is measured in. */
  readonly precision: Precision;
  /** Threads of the model: all cores. */
  readonly threads: number;
  photos(kind: PhotoKind): Promise<PhotoSet>;
}

/** What a part found out: tables for people, and the numbers behind them for programs. */
export interface Findings {
  readonly tables: readonly Table[];
  readonly data: unknown;
}

export async function createBench({ options, tell }: Sitting): Promise<Bench> {
  const photoSets = new Map<PhotoKind, Promise<PhotoSet>>();
  tell(options.model === 'random' ? 'a ViT-B/32 of random weights' : options.model);
  const model = await benchModel(options.model);
  const compiled = new Map<Precision, CompiledModel>();
  for (const precision of ['fp32', 'int8'] as const) {
    tell(`compiling in ${precision}, once`);
    const found = await compiledIn(precision, model);
    if (found) compiled.set(precision, found);
    else tell(`${precision} is not to be had`);
  }
  const best = compiled.has('int8') ? 'int8' : 'fp32';
  const precision = options.precision === 'best' ? best : options.precision;
  if (!compiled.has(precision)) throw new Error(`The service does not know the precision ${precision}.`);
  return {
    options,
    model,
    compiled,
    precision,
    threads: availableParallelism(),
    tell,
    photos(kind) {
      const known = photoSets.get(kind);
      if (known) return known;
      const photos = options.photos === undefined ? madePhotos(kind) : givenPhotos(kind, options.photos);
      photoSets.set(kind, photos);
      return photos;
    },
  };
}
