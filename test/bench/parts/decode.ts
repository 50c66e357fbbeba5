import { basename } from 'node:path';
import type { Bench, Findings } from '../bench.ts';
import { bareDecodes } from '../measure/bare.ts';
import type { ChildAnswer } from '../measure/child.ts';
import type { DecodeRates } from '../measure/decode-program.ts';
import { bestRate } from '../measure/rate.ts';
import { type PhotoKind, photoKinds } from '../photos/photo-set.ts';
import { megabytes, number, type Table } from '../report/table.ts';

interface DecodeResult {
  readonly kind: PhotoKind;
  readonly root: string;
  readonly meanBytes: number;
  readonly rates: DecodeRates;
  /** Of the whole process, the photos themselves included. */
  readonly peakBytes: number;
}

/** Decoding alone: from a file's bytes to the model's square. */
export async function decodePart(bench: Bench): Promise<Findings> {
  const concurrency = [1, bench.threads, 2 * bench.threads, 4 * bench.threads];
  const { roots } = bench.options;
  const results: DecodeResult[] = [];
  for (const kind of photoKinds) {
    const children = roots.map(() => [] as ChildAnswer<DecodeRates>[]);
    for (let round = 1; round <= bench.options.rounds; round++) {
      for (const [index, root] of roots.entries()) {
        bench.tell(`round ${round}: decoding ${kind}, ${root}`);
        children[index]?.push(await bareDecodes(bench, kind, concurrency, root));
      }
    }
    const { meanBytes } = await bench.photos(kind);
    for (const [index, root] of roots.entries()) {
      const own = children[index] ?? [];
      const rates = concurrency.map((width) => ({
        concurrency: width,
        ...bestRate(own.flatMap(({ answer }) => answer.filter((rate) => rate.concurrency === width))),
      }));
      const peakBytes = Math.max(...own.map((child) => child.peakBytes));
      results.push({ kind, root, meanBytes, rates, peakBytes });
    }
  }
  return { data: results, tables: [decodeTable(concurrency, results), ...comparisonTables(results)] };
}

function decodeTable(concurrency: readonly number[], results: readonly DecodeResult[]): Table {
  return {
    title: 'Decoding alone',
    columns: [
      'photos',
      'checkout',
      'mean size',
      ...concurrency.map((width) => `${width} at a time, pictures/s`),
      'CPU ms a picture',
      'peak memory',
    ],
    rows: results.map(({ kind, root, meanBytes, rates, peakBytes }) => [
      kind,
      basename(root),
      `${number(meanBytes / 1e6)} MB`,
      ...rates.map(({ perSecond }) => number(perSecond)),
      number(bestRate(rates).cpuMs),
      megabytes(peakBytes),
    ]),
  };
}

/** The last checkout against the first. */
function comparisonTables(results: readonly DecodeResult[]): Table[] {
  const roots = [...new Set(results.map(({ root }) => root))];
  const [first, last] = [roots[0], roots.at(-1)];
  if (first === last) return [];
  const rows = photoKinds.flatMap((kind) => {
    const of = (wanted: string | undefined) =>
      results.find((result) => result.kind === kind && result.root === wanted);
    const [before, after] = [of(first), of(last)];
    if (!before || !after) return [];
    const [old, fresh] = [bestRate(before.rates), bestRate(after.rates)];
    const ratios = [
      fresh.perSecond / old.perSecond,
      fresh.cpuMs / old.cpuMs,
      after.peakBytes / before.peakBytes,
    ];
    return [[kind, ...ratios.map((ratio) => ratio.toFixed(3))]];
  });
  return [
    {
      title: `Decoding of ${last} against that of ${first}`,
      columns: ['photos', 'pictures/s', 'CPU ms a picture', 'peak memory'],
      rows,
      note: 'Ratios of the best: 1 is the same, and of pictures/s more is better, of all else less.',
    },
  ];
}
