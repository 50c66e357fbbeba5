import { lstat } from 'node:fs/promises';
import * as v from 'valibot';
import type { Categories } from '../../classify/classifier.ts';
import { type QuestionOptions, questionKeys } from '../../contract/options.ts';
import { errnoOf } from '../../errors.ts';
import { precisions } from '../../precision.ts';
import { UsageError } from '../usage-error.ts';
import { replaceFile } from './claim.ts';

export const modelSchema = v.object({
  name: v.string(),
  precision: v.picklist(precisions),
  sha256: v.string(),
});

/** Further keys: the other options of the question by their names on the wire; null: not given. */
const schema = v.looseObject({
  categories: v.array(v.string()),
  /** Absent or null: each category is its phrase. */
  phrases: v.optional(v.nullable(v.array(v.array(v.string())))),
  templates: v.nullable(v.array(v.string())),
  model: v.nullable(modelSchema),
});

/**
 * The question and the model of an output's answers. If they differ, scores cannot be compared, so the answers must
 * not be in one file.
 */
export type Provenance = v.InferOutput<typeof schema>;

export interface AskedQuestion extends Readonly<Record<string, unknown>> {
  readonly categories: string[];
  readonly phrases?: string[][] | null;
  readonly templates: string[] | null;
  /** The folder that the paths of photos are relative to; null: they are absolute. */
  readonly paths_from?: string | null;
}

export function askedQuestion({ labels, phrases }: Categories, question: QuestionOptions): AskedQuestion {
  const { template: _, ...others } = Object.fromEntries(
    questionKeys.map((key) => [key, question[key] ?? null]),
  );
  return {
    categories: [...labels],
    phrases: phrases ? phrases.map((some) => [...some]) : null,
    templates: question.template ? [...question.template] : null,
    ...others,
    // Outputs of earlier versions do not say it.
    fit: question.fit === 'crop' ? null : question.fit,
  };
}

export type AnsweringModel = NonNullable<Provenance['model']>;

/** A file beside the output, because tables and plain lines have no place for it. */
function provenancePath(output: string): string {
  return `${output}.question.json`;
}

/**
 * @returns undefined if the file is missing
 * @throws UsageError if this command did not write the file
 */
export async function readProvenance(output: string): Promise<Provenance | undefined> {
  const path = provenancePath(output);
  const present = await lstat(path).catch((fault: unknown) => {
    if (errnoOf(fault) !== 'ENOENT') throw fault;
  });
  if (present === undefined) return undefined;
  // Reading a pipe may never end, and a link's target must not be replaced.
  const text = present.isFile() ? await Bun.file(path).text() : undefined;
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  if (parsed.success) return parsed.output;
  throw new UsageError(`${path} exists and was not written by this command; use another --output.`);
}

/**
 * Stores the question.
 * @param then question and model of the answers in the output; undefined if it has no answers
 * @returns to be called with the answering model before an answer is written; throws UsageError if the answers in the
 * output are of another model
 */
export async function keepProvenance(
  output: string,
  then: Provenance | undefined,
  asked: AskedQuestion,
): Promise<(model: AnsweringModel) => Promise<void>> {
  let model = then?.model ?? null;
  if (!then) await writeProvenance(output, { ...asked, model });
  return async ({ name, precision, sha256 }) => {
    const now = { name, precision, sha256 };
    if (model) return checkModel(output, model, now);
    await writeProvenance(output, { ...asked, model: now });
    model = now;
  };
}

function writeProvenance(output: string, provenance: Provenance): Promise<void> {
  return replaceFile(provenancePath(output), `${JSON.stringify(provenance)}\n`);
}

/**
 * @param then question and model of the answers in the output; undefined if unknown
 * @throws UsageError with the differences
 */
export function checkQuestion(output: string, then: Provenance | undefined, now: AskedQuestion): void {
  if (!then) {
    throw new UsageError(
      `${output} has answers, but ${provenancePath(output)}, which stores their question, is missing; use another --output.`,
    );
  }
  const changes = [
    ...categoriesChange(then.categories, now.categories),
    ...phrasesChange(then, now),
    ...optionChanges(then, now),
    ...folderChange(then, now),
  ];
  if (changes.length > 0) throw otherAnswers(output, 'has answers to another question', changes);
}

/** @throws UsageError if they are different models */
export function checkModel(output: string, then: AnsweringModel, now: AnsweringModel): void {
  if (then.sha256 === now.sha256 && then.precision === now.precision) return;
  const change = `it was ${inFull(then)} and is now ${inFull(now)}`;
  throw otherAnswers(output, 'has answers of another model', [change]);
}

function otherAnswers(output: string, what: string, changes: readonly string[]): UsageError {
  return new UsageError(
    `${output} ${what}: ${changes.join('; ')}. Use the earlier question and model to continue, or another --output to start anew.`,
  );
}

function inFull({ name, precision, sha256 }: AnsweringModel): string {
  return `${name}, ${precision} (sha256 ${sha256.slice(0, 12)}…)`;
}

function categoriesChange(then: readonly string[], now: readonly string[]): readonly string[] {
  const gone = then.find((label) => !now.includes(label));
  const added = now.find((label) => !then.includes(label));
  const isReordered = then.some((label, index) => label !== now[index]);
  return [
    ...(gone !== undefined ? [`the category ${JSON.stringify(gone)} is missing now`] : []),
    ...(added !== undefined ? [`the category ${JSON.stringify(added)} is new`] : []),
    ...(gone === undefined && added === undefined && isReordered
      ? ['the categories are in another order']
      : []),
  ];
}

/** @returns about the first category that both have, with other phrases */
function phrasesChange(then: Provenance, now: AskedQuestion): readonly string[] {
  const phrasesOf = ({ categories, phrases }: Pick<AskedQuestion, 'categories' | 'phrases'>, label: string) =>
    JSON.stringify(phrases?.[categories.indexOf(label)] ?? [label]);
  const before = { categories: then.categories, phrases: then.phrases ?? null };
  const changed = now.categories.find(
    (label) => then.categories.includes(label) && phrasesOf(before, label) !== phrasesOf(now, label),
  );
  return changed === undefined ? [] : [`the category ${JSON.stringify(changed)} has other phrases now`];
}

function optionChanges(then: Provenance, now: AskedQuestion): readonly string[] {
  const { categories: _, phrases: __, paths_from: ___, ...options } = now;
  return Object.entries(options).flatMap(([name, value]) => {
    const [before, after] = [then[name] ?? null, value].map((it) =>
      it === null ? 'not set' : JSON.stringify(it),
    );
    const option = name === 'templates' ? 'template' : name.replaceAll('_', '-');
    return before === after ? [] : [`--${option} was ${before} and is now ${after}`];
  });
}

/** The same photo would be answered again under another path. Outputs of earlier versions do not say it. */
function folderChange(
  { paths_from: then }: Provenance,
  { paths_from: now }: AskedQuestion,
): readonly string[] {
  if (then === undefined || now === undefined || then === now) return [];
  const [before, after] = [then, now].map((folder) =>
    folder === null ? 'absolute' : `relative to ${JSON.stringify(folder)}`,
  );
  return [`the paths of photos were ${before} and are now ${after}`];
}
