import type { Precision } from '../../../src/precision.ts';
import type { Bench, Findings } from '../bench.ts';
import { bareEncodes } from '../measure/bare.ts';
import type { EncodeRates } from '../measure/encode-program.ts';
import { bestRate } from '../measure/rate.ts';
import { megabytes, number, type Table } from '../report/table.ts';

interface EncodeResult {
  readonly precision: Precision;
  readonly rates: EncodeRates;
  readonly peakBytes: number;
}

const batches = [1, 2, 4, 8] as const;

/** The vision tower alone, by batch and precision. */
export async function encodePart(bench: Bench): Promise<Findings> {
  const rounds: (readonly EncodeResult[])[] = [];
  // Precisions in turn, round by round: what disturbs one disturbs the other.
  for (let round = 0; round < bench.options.rounds; round++) {
    const results: EncodeResult[] = [];
    for (const precision of bench.compiled.keys()) {
      bench.tell(`encoding in ${precision}`);
      const { answer, peakBytes } = await bareEncodes(bench, precision, batches);
      results.push({ precision, rates: answer, peakBytes });
    }
    rounds.push(results);
  }
  const results = [...bench.compiled.keys()].map((precision): EncodeResult => {
    const own = rounds.flatMap((round) => round.filter((result) => result.precision === precision));
    const rates = batches.map((batch) => ({
      batch,
      ...bestRate(own.flatMap((result) => result.rates.filter((rate) => rate.batch === batch))),
    }));
    return { precision, rates, peakBytes: Math.max(...own.map(({ peakBytes }) => peakBytes)) };
  });
  return { data: results, tables: [encodeTable(results)] };
}

function encodeTable(results: readonly EncodeResult[]): Table {
  const fullRate = (precision: Precision) =>
    results.find((result) => result.precision === precision)?.rates.at(-1)?.perSecond ?? Number.NaN;
  const ratio = fullRate('int8') / fullRate('fp32');
  return {
    title: 'Encoding alone',
    columns: [
      'precision',
      ...batches.map((batch) => `batch ${batch}, pictures/s`),
      'CPU ms at 8',
      'peak memory',
    ],
    rows: results.map(({ precision, rates, peakBytes }) => [
      precision,
      ...rates.map(({ perSecond }) => number(perSecond)),
      number(rates.at(-1)?.cpuMs ?? Number.NaN),
      megabytes(peakBytes),
    ]),
    ...(Number.isFinite(ratio) && {
      note: `int8 does ${number(ratio)} times the pictures of fp32 in batches of 8.`,
    }),
  };
}
