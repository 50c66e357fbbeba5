import type { Bench, Findings } from '../bench.ts';
import { bareDecodes } from '../measure/bare.ts';
import type { DecodeRates } from '../measure/decode-program.ts';
import { bestRate } from '../measure/rate.ts';
import { type PhotoKind, photoKinds } from '../photos/photo-set.ts';
import { megabytes, number } from '../report/table.ts';

interface DecodeResult {
  readonly kind: PhotoKind;
  readonly meanBytes: number;
  readonly rates: DecodeRates;
  /** Of the whole process, the photos themselves included. */
  readonly peakBytes: number;
}

/** Decoding alone: from a file's bytes to the model's square. */
export async function decodePart(bench: Bench): Promise<Findings> {
  const concurrency = [1, bench.threads, 2 * bench.threads, 4 * bench.threads];
  const results: DecodeResult[] = [];
  for (const kind of photoKinds) {
    bench.tell(`decoding ${kind}`);
    const rounds: DecodeRates[] = [];
    let peakBytes = 0;
    for (let round = 0; round < bench.options.rounds; round++) {
      const child = await bareDecodes(bench, kind, concurrency);
      rounds.push(child.answer);
      peakBytes = Math.max(peakBytes, child.peakBytes);
    }
    const rates = concurrency.map((width) => ({
      concurrency: width,
      ...bestRate(rounds.flatMap((round) => round.filter((rate) => rate.concurrency === width))),
    }));
    results.push({ kind, meanBytes: (await bench.photos(kind)).meanBytes, rates, peakBytes });
  }
  return {
    data: results,
    tables: [
      {
        title: 'Decoding alone',
        columns: [
          'photos',
          'mean size',
          ...concurrency.map((width) => `${width} at a time, pictures/s`),
          'CPU ms a picture',
          'peak memory',
        ],
        rows: results.map(({ kind, meanBytes, rates, peakBytes }) => [
          kind,
          `${number(meanBytes / 1e6)} MB`,
          ...rates.map(({ perSecond }) => number(perSecond)),
          number(bestRate(rates).cpuMs),
          megabytes(peakBytes),
        ]),
      },
    ],
  };
}
