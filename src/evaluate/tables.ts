import { withoutControls } from '../cli/output/escape-text.ts';
import { count } from '../cli/terminal.ts';
import type { Precision } from '../precision.ts';
import { SIGNIFICANT } from './recommend.ts';
import type { Int8Changes, Report, Result, Threshold } from './report.ts';

/** Longer names of categories are cut, so that a line has at most 80 columns. */
const NAME_COLUMNS = 20;
/** Where several names, or many numbers, are on a line. */
const NARROW_COLUMNS = 11;
/** Rows of a table that could have one for each category or photo. */
const MOST_ROWS = 10;

/** The report for a person, in lines of at most 80 columns, file names excepted. */
export function tablesOf(report: Report): string {
  const sections = [
    introduction(report),
    accuracies(report),
    int8Changes(report),
    byCategory(report),
    thresholds(report),
    suspects(report),
    similarCategories(report),
    recommendation(report),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function introduction(report: Report): readonly string[] {
  const {
    model,
    photos,
    none_photos: none,
    unreadable,
    largest_category: largest,
    precision_note: note,
  } = report;
  const [first] = report.results;
  const categories = first?.categories.length ?? 0;
  const counted = [
    `${count(photos)} photos in ${count(categories)} ${categories === 1 ? 'category' : 'categories'}`,
    ...(none > 0 ? [`${count(none)} of no category`] : []),
    ...(unreadable.length > 0 ? [`${count(unreadable.length)} could not be used`] : []),
  ].join(', ');
  return [
    ...wrapped(`${counted}. Model: ${model.name} (sha256 ${model.sha256.slice(0, 12)}…).`),
    ...(largest && categories > 1
      ? wrapped(`Always answering ${quoted(largest.category)} would be right for ${percent(largest.share)}.`)
      : []),
    ...(note === null ? [] : wrapped(note)),
  ];
}

/** One row for each fit and template, with both precisions side by side. */
function accuracies({ results, photos }: Report): readonly string[] {
  const used = precisionsOf(results);
  const hasTop5 = results.some(({ top_5 }) => top_5 !== null);
  const rows = rowsOf(results).map((row) => [
    row.fit,
    cut(row.template, NARROW_COLUMNS),
    ...used.flatMap((precision, index) => {
      const gap = index > 0 ? [''] : [];
      const result = row.results.find((one) => one.precision === precision);
      if (!result) return [...gap, '', '', '', ...(hasTop5 ? [''] : [])];
      return [
        ...gap,
        count(result.right),
        percent(result.accuracy),
        range(result.low, result.high),
        ...(hasTop5 ? [percent(result.top_5?.accuracy ?? null)] : []),
      ];
    }),
  ]);
  const head = [
    'fit',
    'template',
    ...used.flatMap((precision, index) => [
      ...(index > 0 ? [''] : []),
      precision,
      '',
      '95 %',
      ...(hasTop5 ? ['top 5'] : []),
    ]),
  ];
  return [
    `Right answers for ${count(photos)} photos`,
    ...table([head, ...rows], ['left', 'left']),
    ...wrapped(
      '95 %: the range of the share for all photos of this kind, if these were picked from them at random.',
    ),
  ];
}

function int8Changes(report: Report): readonly string[] {
  const { int8_changes: changes, photos, none_photos: none, recommended } = report;
  if (changes.length === 0) return [];
  const rows = changes.map((one) => [
    one.fit,
    cut(one.template, NARROW_COLUMNS),
    count(one.changed),
    count(one.right_to_wrong),
    count(one.wrong_to_right),
    count(one.wrong_to_wrong),
    probability(one.p_value),
  ]);
  const head = ['fit', 'template', 'changed', 'right→wrong', 'wrong→right', 'wrong→wrong', 'chance'];
  return [
    `Answers that int8 changes, of ${count(photos + none)}`,
    ...table([head, ...rows], ['left', 'left']),
    'chance: how often chance alone would make a difference at least as large.',
    ...verdictOnInt8(
      changes.find(({ fit, template }) => fit === recommended.fit && template === recommended.template),
    ),
  ];
}

/** @param changes with the recommended fit and template */
function verdictOnInt8(changes: Int8Changes | undefined): readonly string[] {
  if (!changes) return [];
  const { fit, template, right_to_wrong: lost, wrong_to_right: won, p_value: chance } = changes;
  const verdict =
    lost + won === 0
      ? 'int8 loses no right answer.'
      : chance >= SIGNIFICANT
        ? `int8 loses ${count(lost)} and wins ${count(won)}, which may be chance.`
        : `int8 loses ${count(lost)} and wins ${count(won)}, which is hardly chance.`;
  return wrapped(`With fit ${fit} and template ${cut(template)}, ${verdict}`);
}

/** The categories with the most wrong answers. */
function byCategory(report: Report): readonly string[] {
  const result = recommendedResult(report);
  if (!result || result.categories.length < 2) return [];
  const measured = result.categories.filter(({ photos }) => photos > 0);
  const sorted = measured.toSorted((a, b) => b.photos - b.right - (a.photos - a.right));
  const rows = sorted
    .slice(0, MOST_ROWS)
    .map(({ category, photos, right, taken_for: taken }) => [
      cut(category),
      count(photos),
      count(right),
      percent(right / photos),
      takenFor(taken),
    ]);
  const more = measured.length - MOST_ROWS;
  const none =
    report.none_photos > 0
      ? [['(no category)', count(report.none_photos), '', '', takenFor(result.none_taken_for)]]
      : [];
  return [
    ...wrapped(
      `By category, ${nameOf(result)}${more > 0 ? `: the ${MOST_ROWS} with the most wrong answers` : ''}`,
    ),
    ...table(
      [['category', 'photos', 'right', '', 'wrongly taken for'], ...rows, ...none],
      ['left', 'right', 'right', 'right', 'left'],
    ),
  ];
}

/** What the other columns of the categories leave. */
const TAKEN_COLUMNS = 34;

/** `dog (3), cat (1)`, and how many others. */
function takenFor(taken: Result['none_taken_for']): string {
  const others = taken.slice(2).reduce((sum, { photos }) => sum + photos, 0);
  const described = (columns: number) =>
    [
      ...taken.slice(0, 2).map(({ category, photos }) => `${cut(category, columns)} (${count(photos)})`),
      ...(others > 0 ? [`others (${count(others)})`] : []),
    ].join(', ');
  const whole = described(NAME_COLUMNS);
  return Bun.stringWidth(whole) <= TAKEN_COLUMNS ? whole : described(NARROW_COLUMNS);
}

function thresholds(report: Report): readonly string[] {
  const result = recommendedResult(report);
  if (!result) return [];
  const { none_photos: none } = report;
  const rules: Readonly<Record<Threshold['rule'], string>> = {
    default: 'default',
    max_wrong: `≤ ${limit(report.max_wrong)} wrong`,
    f1: 'balance (F1)',
  };
  const rows = result.thresholds.map((one) => [
    one.others ? 'others' : 'plain',
    rules[one.rule],
    one.threshold === 0 ? 'none' : String(one.threshold),
    count(one.right),
    count(one.wrong),
    percent(one.wrong_share),
    count(one.unanswered),
    ...(none > 0 ? [`${count(one.none_unanswered)}/${count(none)}`] : []),
  ]);
  const head = ['scores', 'chosen by', 'threshold', 'right', 'wrong', '', 'no answer'];
  if (none > 0) head.push('of none');
  return [
    `Thresholds, ${nameOf(result)}`,
    ...table([head, ...rows], ['left', 'left']),
    ...wrapped(
      none > 0
        ? 'of none: how many of the photos of no category get no answer, as they should.'
        : 'To measure answers about photos of no category, put some into a subfolder "none".',
    ),
  ];
}

/** Wrong answers with high scores: the photo may be in the wrong folder. */
function suspects({ wrong }: Report): readonly string[] {
  const shown = wrong.filter(({ category }) => category !== null).slice(0, 5);
  if (shown.length === 0) return [];
  return [
    'Wrong answers with the highest scores: are these photos in the right folder?',
    ...shown.map(
      ({ file, answer, score }) => `  ${withoutControls(file)}: ${cut(answer)} (${score.toFixed(2)})`,
    ),
  ];
}

function similarCategories({ similar_categories: similar }: Report): readonly string[] {
  if (similar.length === 0) return [];
  return [
    'These categories mean almost the same to the model. Use clearer words, or one category:',
    ...similar
      .slice(0, MOST_ROWS)
      .map(({ categories: [a, b], similarity }) => `  ${cut(a)} and ${cut(b)} (${similarity.toFixed(3)})`),
  ];
}

function recommendation(report: Report): readonly string[] {
  const { recommended, photos, none_photos: none, max_wrong: maxWrong } = report;
  const { options, settings, right, wrong, unanswered, rule, threshold } = recommended;
  const words = [...settings, ...options.map(shellQuoted)];
  const cost = `Of ${count(photos + none)} photos, ${count(right)} get the right category, ${count(wrong)} a wrong one, and ${count(unanswered)} none.`;
  const why =
    rule === 'f1'
      ? ` No threshold keeps the wrong answers below ${limit(maxWrong)} without losing most of the right ones, so this one has the best balance of both (the highest F1).`
      : threshold === 0
        ? ' No threshold is needed for that.'
        : '';
  return [
    `Recommended: ${words.length > 0 ? words.join(' ') : 'the default options'}`,
    ...wrapped(`${cost}${why}`),
    ...comparisonWithDefault(report),
  ];
}

/** What the recommended fit, template and precision bring. */
function comparisonWithDefault({ recommended, results }: Report): readonly string[] {
  const { default_right: standard, p_value: pValue } = recommended;
  const better = (recommendedResult({ recommended, results })?.right ?? 0) - (standard ?? 0);
  if (standard === null || pValue === null || better <= 0) return [];
  const isCertain = pValue < SIGNIFICANT;
  return wrapped(
    `Without a threshold, these options are right for ${count(better)} more ${better === 1 ? 'photo' : 'photos'} than the defaults. ${
      isCertain
        ? `Chance alone rarely does that (${probability(pValue)}).`
        : `That may be chance (${probability(pValue)}): more photos would tell.`
    }`,
  );
}

function recommendedResult({
  results,
  recommended,
}: Pick<Report, 'results' | 'recommended'>): Result | undefined {
  return results.find(
    ({ precision, fit, template }) =>
      precision === recommended.precision && fit === recommended.fit && template === recommended.template,
  );
}

function nameOf({ precision, fit, template }: Result): string {
  return `${precision}, fit ${fit}, template ${cut(template)}`;
}

function precisionsOf(results: readonly Result[]): readonly Precision[] {
  const present = new Set(results.map(({ precision }) => precision));
  return (['int8', 'fp32'] as const).filter((precision) => present.has(precision));
}

/** Results of the same fit and template, in the order of the first precision. */
function rowsOf(results: readonly Result[]) {
  const grouped = Map.groupBy(results, ({ fit, template }) => JSON.stringify([fit, template]));
  return [...grouped.values()].map((some) => ({
    fit: some[0]?.fit ?? '',
    template: some[0]?.template ?? '',
    results: some,
  }));
}

type Side = 'left' | 'right';

/** @param sides of the first columns; the others are numbers, on the right */
function table(rows: readonly (readonly string[])[], sides: readonly Side[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    rows.reduce((widest, row) => Math.max(widest, Bun.stringWidth(row[column] ?? '')), 0),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const space = ' '.repeat((widths[column] ?? 0) - Bun.stringWidth(cell));
        return (sides[column] ?? 'right') === 'left' ? cell + space : space + cell;
      })
      .join('  ')
      .trimEnd(),
  );
}

/** The beginning of a name, without control characters. */
function cut(name: string, columns = NAME_COLUMNS): string {
  const shown = withoutControls(name);
  if (Bun.stringWidth(shown) <= columns) return shown;
  let kept = '';
  for (const character of shown) {
    if (Bun.stringWidth(kept + character) >= columns) break;
    kept += character;
  }
  return `${kept}…`;
}

function quoted(name: string): string {
  return `"${withoutControls(name)}"`;
}

function percent(share: number | null): string {
  return share === null ? '-' : `${(share * 100).toFixed(1)} %`;
}

/** A limit that a person has given, without needless digits. */
function limit(share: number): string {
  return `${Number((share * 100).toPrecision(6))} %`;
}

/** `82–93`, in percent */
function range(low: number, high: number): string {
  return `${Math.round(low * 100)}–${Math.round(high * 100)}`;
}

function probability(value: number): string {
  return value < 0.001 ? '<0.001' : value.toFixed(3);
}

/** An argument for a shell. */
function shellQuoted(argument: string): string {
  return /^[\w./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

const LINE_COLUMNS = 80;

/** Breaks a sentence into lines. */
function wrapped(sentence: string): readonly string[] {
  const lines: string[] = [];
  for (const word of sentence.split(' ')) {
    const line = lines.at(-1);
    if (line !== undefined && Bun.stringWidth(`${line} ${word}`) <= LINE_COLUMNS) {
      lines[lines.length - 1] = `${line} ${word}`;
    } else lines.push(word);
  }
  return lines;
}
