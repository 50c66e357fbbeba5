import { lstat } from 'node:fs/promises';
import * as v from 'valibot';
import { type QuestionOptions, questionKeys } from '../../contract/options.ts';
import { errnoOf } from '../../errors.ts';
import { UsageError } from '../usage-error.ts';
import { replaceFile } from './claim.ts';

/** Further keys are the other options of a question, by their names on the wire; null: not given. */
const schema = v.looseObject({
  categories: v.array(v.string()),
  templates: v.nullable(v.array(v.string())),
  model: v.nullable(
    v.object({ name: v.string(), precision: v.picklist(['fp32', 'int8']), sha256: v.string() }),
  ),
});

/**
 * What the answers of an output are answers to. Where anything of it differs, scores cannot be compared, and
 * the answers must not stand in one file.
 */
export type Provenance = v.InferOutput<typeof schema>;

/** What was asked, without the model that answered. */
export interface AskedQuestion extends Readonly<Record<string, unknown>> {
  readonly categories: string[];
  readonly templates: string[] | null;
}

export function askedQuestion(labels: readonly string[], question: QuestionOptions): AskedQuestion {
  const { template: _, ...others } = Object.fromEntries(
    questionKeys.map((key) => [key, question[key] ?? null]),
  );
  return { categories: [...labels], templates: question.template ? [...question.template] : null, ...others };
}

/** The model is null until the first answer. */
export type AnsweringModel = NonNullable<Provenance['model']>;

/** Stands beside the output, because neither a table nor plain lines have a place for it. */
function provenancePath(output: string): string {
  return `${output}.question.json`;
}

/**
 * @returns undefined where there is none
 * @throws UsageError where the file is something else
 */
export async function readProvenance(output: string): Promise<Provenance | undefined> {
  const path = provenancePath(output);
  const present = await lstat(path).catch((fault: unknown) => {
    if (errnoOf(fault) !== 'ENOENT') throw fault;
  });
  if (present === undefined) return undefined;
  // Reading a pipe may never end, and what a link leads to is not ours to replace.
  const text = present.isFile() ? await Bun.file(path).text() : undefined;
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  if (parsed.success) return parsed.output;
  throw new UsageError(`${path} is there and was not written by this command; give another --output.`);
}

/**
 * Remembers what is asked.
 * @param then what the answers that are there answer; undefined where there are none yet
 * @returns what has to be told, before an answer is written, which model has given it; it throws UsageError
 * where the answers that are there are of another one
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
 * @param then what the answers that are there answer; undefined where nobody knows
 * @throws UsageError that says what has changed
 */
export function checkQuestion(output: string, then: Provenance | undefined, now: AskedQuestion): void {
  if (!then) {
    throw new UsageError(
      `${output} has answers, and ${provenancePath(output)}, which says to what question, is missing; give another --output.`,
    );
  }
  const changes = [...categoriesChange(then.categories, now.categories), ...optionChanges(then, now)];
  if (changes.length > 0) throw otherAnswers(output, 'answers another question', changes);
}

function checkModel(output: string, then: AnsweringModel, now: AnsweringModel): void {
  if (then.sha256 === now.sha256 && then.precision === now.precision) return;
  const change = `it was ${inFull(then)}, and is ${inFull(now)} now`;
  throw otherAnswers(output, 'holds answers of another model', [change]);
}

function otherAnswers(output: string, what: string, changes: readonly string[]): UsageError {
  return new UsageError(
    `${output} ${what}: ${changes.join('; ')}. Ask as then to go on with it, or give another --output to begin anew.`,
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
    ...(gone !== undefined ? [`${JSON.stringify(gone)} was one of the categories, and is none now`] : []),
    ...(added !== undefined ? [`${JSON.stringify(added)} was none of the categories, and is one now`] : []),
    ...(gone === undefined && added === undefined && isReordered
      ? ['the categories were in another order']
      : []),
  ];
}

function optionChanges(then: Provenance, now: AskedQuestion): readonly string[] {
  const { categories: _, ...options } = now;
  return Object.entries(options).flatMap(([name, value]) => {
    const [before, after] = [then[name] ?? null, value].map((it) =>
      it === null ? 'not given' : JSON.stringify(it),
    );
    const option = name === 'templates' ? 'template' : name.replaceAll('_', '-');
    return before === after ? [] : [`--${option} was ${before}, and is ${after} now`];
  });
}
