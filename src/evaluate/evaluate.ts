import type { Classifier, ModelSummary } from '../classify/classifier.ts';
import { createEngineEmbedder } from '../cli/answers/engine-answers.ts';
import { createFaultWatch } from '../cli/answers/fault-watch.ts';
import { startLocalEngine } from '../cli/open-answers.ts';
import { lineFormats } from '../cli/output/line-format.ts';
import { reserveOutput } from '../cli/output/output.ts';
import type { ProgramParts } from '../cli/program.ts';
import { count, createProgress, duration } from '../cli/terminal.ts';
import { UsageError } from '../cli/usage-error.ts';
import { type Config, parseConfig } from '../config.ts';
import type { Fit } from '../contract/options.ts';
import type { Precision, PrecisionSetting } from '../precision.ts';
import { answerPhotos } from './answer-photos.ts';
import type { EvaluateCommand } from './arguments.ts';
import { type Asked, createReport } from './create-report.ts';
import {
  emptySubfolders,
  findLabelledFiles,
  type LabelledFile,
  type LabelledFolder,
} from './labelled-folder.ts';
import type { Report } from './report.ts';
import { seePhotos } from './see-photos.ts';
import { tablesOf } from './tables.ts';

/** Measures a folder and prints the report. @throws UsageError, ModelStoreError, ServiceError; the signal's reason */
export async function evaluateFolder(command: EvaluateCommand, parts: ProgramParts): Promise<void> {
  const config = parseConfig(undefined, []);
  await using reserved = command.output === undefined ? undefined : await reserveOutput(command.output);
  const report = await reportOn(command, config, parts);
  const { json } = lineFormats;
  await reserved?.write([report], json, wholeRecord);
  await parts.terminal.print(command.isJson ? json.line(report, wholeRecord) : tablesOf(report));
}

/** JSON has all keys of a record. */
const wholeRecord = { columns: [], words: [] };

async function reportOn(command: EvaluateCommand, config: Config, parts: ProgramParts): Promise<Report> {
  const { terminal, tally } = parts;
  tally.verb = 'measured';
  const folder = await findLabelledFiles({ ...command, maxCategories: config.limits.categories }, parts);
  for (const name of await emptySubfolders(command.folder, folder)) {
    terminal.note(`${command.folder}: the subfolder ${JSON.stringify(name)} has no files; left out.`);
  }
  refuseTooLittle(command, folder);
  if (!command.isQuiet && command.fits.length > 1) {
    terminal.note(
      `The model looks at all photos once for each fit (${command.fits.join(', ')}), in each precision. --fit chooses some of them; tiles takes as long as the other two.`,
    );
  }
  const evaluation = createEvaluation(folder, { command, config, parts });
  const { served, note } = await measurePrecisions(command, config.model.precision, evaluation);
  return createReport({
    ...evaluation.results(),
    folder: command.folder,
    model: { name: served.name, sha256: served.sha256 },
    served: served.precision,
    precisionNote: note,
    maxWrong: command.maxWrong,
  });
}

/** @throws UsageError if nothing can be measured */
function refuseTooLittle({ folder }: EvaluateCommand, { categories, files }: LabelledFolder): void {
  const labelled = files.filter(({ category }) => category !== null);
  if (labelled.length === 0) {
    throw new UsageError(
      `${folder} has no subfolders with photos. Put the photos of each category into a subfolder with its name.`,
    );
  }
  const { labels } = categories;
  if (labels.length > 1 || labelled.length < files.length) return;
  throw new UsageError(
    `${folder} has only one category, ${JSON.stringify(labels[0])}: every photo fits it best. Add the photos of another category, or of no category in a subfolder "none".`,
  );
}

/**
 * Measures int8 as it is served, then fp32. Only one of them is loaded at a time.
 * @returns the model as it is served, and why a precision was not measured
 */
async function measurePrecisions(
  { precisions }: EvaluateCommand,
  setting: PrecisionSetting,
  { measureAt }: Evaluation,
): Promise<{ readonly served: ModelSummary; readonly note: string | null }> {
  const wanted = precisions ?? (setting === 'fp32' ? ['fp32'] : ['int8', 'fp32']);
  const onlyFp32 =
    precisions === undefined && setting === 'fp32'
      ? 'int8 is not measured, because CLIP_PRECISION is fp32. --precision int8 --precision fp32 measures both.'
      : null;
  if (!wanted.includes('int8')) return { served: await measureAt('fp32', wanted), note: onlyFp32 };
  const served = await measureAt(setting, wanted);
  let note: string | null = null;
  if (served.precision === 'fp32') {
    if (precisions === undefined) note = reasonForFp32(served);
    else await measureAt('int8', wanted);
  } else if (wanted.includes('fp32')) await measureAt('fp32', wanted);
  return { served, note };
}

function reasonForFp32({ name, precisionReport }: ModelSummary): string {
  const why =
    precisionReport === undefined
      ? `${name} is served in fp32`
      : `it would answer differently from fp32 with this model (${precisionReport.reasons.join('; ')})`;
  return `int8 is not measured, because ${why}. --precision int8 --precision fp32 measures it nevertheless.`;
}

/** Measures a folder, one precision after the other. */
interface Evaluation {
  /**
   * Loads the model, looks at all photos if its precision is wanted, and ends the model.
   * @returns the model
   */
  measureAt(setting: PrecisionSetting, wanted: readonly Precision[]): Promise<ModelSummary>;
  /** So far. The photos are those that all passes have seen. */
  results(): {
    readonly labels: readonly string[];
    readonly photos: readonly LabelledFile[];
    readonly asked: readonly Asked[];
    readonly passes: Report['passes'];
    readonly unreadable: Report['unreadable'];
  };
}

interface EvaluationContext {
  readonly command: EvaluateCommand;
  readonly config: Config;
  readonly parts: ProgramParts;
}

function createEvaluation(folder: LabelledFolder, { command, config, parts }: EvaluationContext): Evaluation {
  const { terminal, tally, signal } = parts;
  const { isQuiet, background, fits, templates } = command;
  const asked: Asked[] = [];
  const passes: Report['passes'] = [];
  const unreadable: Report['unreadable'] = [];
  let photos = folder.files;
  let { categories } = folder;

  /** @returns what the model has seen, by path */
  const look = async (classifier: Classifier, fit: Fit): Promise<ReadonlyMap<string, Float32Array>> => {
    const isFirst = passes.length === 0;
    const { precision } = classifier.model;
    const embedder = createEngineEmbedder(classifier, {
      question: { background, fit },
      signal,
      dispose: async () => undefined,
    });
    const place = fits.length > 1 ? `, ${fits.indexOf(fit) + 1} of ${fits.length} fits` : '';
    const unit = `photos (${precision}, ${fit}${place})`;
    const progress = createProgress({ terminal, unit, isQuiet });
    const watch = createFaultWatch();
    const seen = new Map<string, Float32Array>();
    const beganAt = performance.now();
    let done = 0;
    try {
      progress.show(0, photos.length);
      const files = photos.map(({ file }) => file);
      for await (const sight of seePhotos(embedder, files, config.limits.imageBytes)) {
        signal.throwIfAborted();
        const path = files[done]?.path ?? '';
        if (sight.kind === 'seen') {
          watch(undefined);
          seen.set(path, sight.embedding);
          if (isFirst) tally.answered += 1;
          if (isFirst && sight.warning !== undefined) terminal.note(`${path}: ${sight.warning}`);
        } else if (sight.kind === 'skipped') tally.skip(sight.what);
        else {
          watch(sight);
          const { code, error } = sight;
          tally.fault(path, error, code);
          unreadable.push({ file: path, code, error });
        }
        done += 1;
        progress.show(done, photos.length, tally.remarks());
      }
    } finally {
      progress.end();
    }
    const seconds = (performance.now() - beganAt) / 1000;
    passes.push({ precision, fit, photos: seen.size, seconds });
    if (!isQuiet) {
      const rate = seen.size > 0 ? ` (${(seen.size / seconds).toFixed(1)}/s)` : '';
      terminal.note(`${precision}, ${fit}: ${count(seen.size)} photos in ${duration(seconds)}${rate}.`);
    }
    return seen;
  };

  /** The photos that have been seen, and broken ones: a category of which all photos are broken still competes. */
  const keepSeen = (seen: ReadonlyMap<string, Float32Array>) => {
    const broken = new Set(unreadable.map(({ file }) => file));
    const known = new Set(
      photos.flatMap(({ file: { path }, category }) =>
        seen.has(path) || broken.has(path) ? [category] : [],
      ),
    );
    photos = photos.filter(({ file: { path } }) => seen.has(path));
    if (passes.length > 1) return;
    const without = categories.labels.filter((label) => !known.has(label));
    if (without.length > 0) noteWithoutPhotos(without);
    if (command.categoriesFile === undefined) {
      categories = { labels: categories.labels.filter((label) => known.has(label)) };
    }
    refuseTooLittle(command, { categories, files: photos });
  };

  const noteWithoutPhotos = (without: readonly string[]) => {
    const shown = without.slice(0, 3).map((label) => JSON.stringify(label));
    const names = `${shown.join(', ')}${without.length > 3 ? ` and ${count(without.length - 3)} more` : ''}`;
    const what =
      command.categoriesFile === undefined
        ? 'The subfolders of these names are left out.'
        : 'They compete with the others, but are not measured.';
    terminal.note(`No photos of ${names}. ${what}`);
  };

  /** Asks about what the model has seen, in all templates. */
  const ask = async (classifier: Classifier, fit: Fit, seen: ReadonlyMap<string, Float32Array>) => {
    const { precision } = classifier.model;
    for (const { name, sentences: template } of templates) {
      const answers = await answerPhotos(classifier, seen, { categories, template }, { signal });
      const synonyms = await classifier.findSynonyms(categories, { template }, { signal });
      asked.push({ precision, fit, template: name, answers, synonyms });
    }
  };

  return {
    async measureAt(setting, wanted) {
      const model = { ...config.model, precision: setting };
      const options = { config: { ...config, model }, terminal, signal, isQuiet };
      await using engine = await startLocalEngine(options);
      const { classifier } = engine;
      if (!wanted.includes(classifier.model.precision)) return classifier.model;
      // Refuses too long categories before any photo.
      for (const { sentences: template } of templates) {
        await classifier.checkLabels(categories, { template, others: true }, { signal });
      }
      for (const fit of fits) {
        const seen = await look(classifier, fit);
        keepSeen(seen);
        await ask(classifier, fit, seen);
      }
      return classifier.model;
    },
    results: () => ({ labels: categories.labels, photos, asked, passes, unreadable }),
  };
}
