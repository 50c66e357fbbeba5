import {
  decide,
  decideSeveral,
  isListed,
  scoreAgainstBackground,
  similarityOf,
  thresholdOf,
} from '../../classify/decide.ts';
import { findSynonyms, type Synonyms } from '../../classify/synonyms.ts';
import { errorMeanings, isErrorCode } from '../../contract/codes.ts';
import type { Rules } from '../../contract/options.ts';

/** What photos are sorted by: a name, and the phrases that stand for it. */
export interface Category {
  readonly name: string;
  /** At least one. */
  readonly phrases: readonly string[];
}

/** What a person asks about all photos. */
export interface Question {
  readonly categories: readonly Category[];
  /** A sentence with one `{}`, or a template's name; empty: the phrases themselves. */
  readonly template: string;
}

/** A question in numbers. A changed question is a new object: answers are matched to it by identity. */
export interface Asked extends Question {
  /** [categories] one L2-normalised embedding each. */
  readonly embeddings: readonly Float32Array[];
  /** Embeddings of the neutral phrases that each category competes with. */
  readonly background: readonly Float32Array[];
  readonly logitScale: number;
  /** What made the embeddings; photos with embeddings of another origin have no answer. */
  readonly origin: string;
}

/** What the service has made of a photo. The photo need not be sent again for another question. */
export interface PhotoEmbedding {
  /** Model, precision and part of the photo: embeddings of different origins cannot be compared. */
  readonly origin: string;
  /** [tiles, D] float32: a row for each part of the photo that the model has looked at, L2-normalised. */
  readonly embedding: Float32Array;
  /** A sentence about the part of the photo that is missing. */
  readonly warning?: string | undefined;
  /** A small JPEG of what the model has looked at, if browsers do not show the photo's format. */
  readonly thumbnail?: Blob | undefined;
}

/** The scores of one photo. */
export interface PhotoAnswer {
  readonly asked: Asked;
  /** [categories] cosine with each category; of several parts the highest. */
  readonly similarities: Float32Array;
  /** [categories] how clearly each category beats the background, 0 to 1. */
  readonly scores: Float32Array;
  /** Index of the category with the highest similarity. */
  readonly best: number;
}

/** Why a file could not be used. */
export interface Fault {
  readonly code: string;
  /** For a person. */
  readonly sentence: string;
}

/** A photo on the page. The browser reads its bytes from the disk only when needed. */
export interface Photo {
  readonly id: number;
  readonly file: File;
  /** The file's size. It is stored because browsers read it from the disk each time. */
  readonly bytes: number;
  /** The file's name, with its folders in a dropped folder. */
  readonly path: string;
  embedding?: PhotoEmbedding;
  /** The last answer; `answerTo` computes it. */
  answer?: PhotoAnswer;
  fault?: Fault;
  /** The name of the category that a person has moved the photo to; null: to none. */
  moved?: string | null;
}

/** A photo's score for one category. */
export interface Standing {
  /** Index of the category. */
  readonly label: number;
  readonly score: number;
  readonly similarity: number;
}

/** @returns the photo's answer, computed if necessary; undefined if the photo was not sent yet or cannot be used */
export function answerTo(photo: Photo, asked: Asked): PhotoAnswer | undefined {
  if (photo.fault || photo.embedding?.origin !== asked.origin || asked.embeddings.length === 0)
    return undefined;
  if (photo.answer?.asked !== asked) photo.answer = computeAnswer(photo.embedding, asked);
  return photo.answer;
}

function computeAnswer({ embedding }: PhotoEmbedding, asked: Asked): PhotoAnswer {
  const similarityWith = (text: Float32Array) => similarityOf(text, embedding);
  const background = Math.max(...asked.background.map(similarityWith));
  const similarities = Float32Array.from(asked.embeddings, similarityWith);
  const scores = similarities.map((similarity) =>
    scoreAgainstBackground(asked.logitScale, similarity, background),
  );
  let best = 0;
  for (const [label, similarity] of similarities.entries()) {
    if (similarity > similarities[best]!) best = label;
  }
  return { asked, similarities, scores, best };
}

function standingOf({ scores, similarities }: PhotoAnswer, label: number): Standing {
  return { label, score: scores[label]!, similarity: similarities[label]! };
}

/** All categories of a photo, best first, equal ones in the order written. */
export function rankingOf(answer: PhotoAnswer): Standing[] {
  return [...answer.similarities.keys()]
    .map((label) => standingOf(answer, label))
    .sort((a, b) => b.similarity - a.similarity || a.label - b.label);
}

/**
 * The categories of a photo: by a person's hand, or else by the rules.
 * @returns indices, best first; none: no category fits
 */
export function categoriesOf(photo: Photo, asked: Asked, rules: Rules): readonly number[] {
  return movedTo(photo, asked) ?? categoriesByRules(photo, asked, rules);
}

/** The categories of a photo, whatever a person has moved. @returns as `categoriesOf` */
export function categoriesByRules(photo: Photo, asked: Asked, rules: Rules): readonly number[] {
  const answer = answerTo(photo, asked);
  if (!answer) return [];
  if (rules.several) return decideSeveral(rankingOf(answer), rules).map(({ label }) => label);
  const decided = decide([standingOf(answer, answer.best)], rules);
  return decided ? [decided.label] : [];
}

/** @returns undefined if the photo was not moved, or to a category that is not asked for any more */
export function movedTo({ moved }: Photo, { categories }: Question): readonly number[] | undefined {
  if (moved === undefined) return undefined;
  if (moved === null) return [];
  const place = categories.findIndex(({ name }) => name === moved);
  return place === -1 ? undefined : [place];
}

/** Whether a photo fits a category well beyond what the rules ask for, 0 to 1: 0 just reaches the threshold. */
export function strengthOf({ score }: Pick<Standing, 'score'>, rules: Rules): number {
  const logit = (share: number) => Math.log(share / (1 - share));
  const bounded = (share: number) => Math.min(0.999, Math.max(0.001, share));
  const threshold = logit(bounded(thresholdOf(rules)));
  const full = Math.max(logit(0.99), threshold + 1);
  return Math.min(1, Math.max(0, (logit(bounded(score)) - threshold) / (full - threshold)));
}

/**
 * The best photos of each category, best first, equal ones in the order given: by similarity, because the score also
 * depends on how well the background fits.
 * @param count photos per category
 */
export function bestPhotos(
  photos: readonly Photo[],
  asked: Asked,
  count: number,
  rules: Rules,
): readonly (readonly Photo[])[] {
  const answers = photos.flatMap((photo) => {
    const answer = answerTo(photo, asked);
    return answer ? [{ photo, answer }] : [];
  });
  return asked.categories.map((_, label) =>
    answers
      .filter(({ answer }) => isListed(standingOf(answer, label), rules))
      .sort((a, b) => b.answer.similarities[label]! - a.answer.similarities[label]!)
      .slice(0, count)
      .map(({ photo }) => photo),
  );
}

/** The photos on the page in groups. With `several`, a photo may be in several groups; otherwise each is in one list. */
export interface Grouping {
  /** [categories] the photos of each, best first. */
  readonly groups: readonly (readonly Photo[])[];
  /** Photos that no category fits. */
  readonly unsure: readonly Photo[];
  readonly broken: readonly Photo[];
  /** Photos that were not sent yet; all usable ones without a question. */
  readonly waiting: readonly Photo[];
}

/** @param asked undefined: without a question */
export function groupByCategory(photos: readonly Photo[], asked: Asked | undefined, rules: Rules): Grouping {
  const groups: Photo[][] = (asked?.categories ?? []).map(() => []);
  const unsure: Photo[] = [];
  const broken: Photo[] = [];
  const waiting: Photo[] = [];
  for (const photo of photos) {
    if (photo.fault) broken.push(photo);
    else if (!asked || !answerTo(photo, asked)) waiting.push(photo);
    else {
      const labels = categoriesOf(photo, asked, rules);
      for (const label of labels) groups[label]!.push(photo);
      if (labels.length === 0) unsure.push(photo);
    }
  }
  const bestFirst = (similarity: (answer: PhotoAnswer) => number) => (a: Photo, b: Photo) =>
    similarity(b.answer!) - similarity(a.answer!) || a.id - b.id;
  for (const [label, group] of groups.entries())
    group.sort(bestFirst((answer) => answer.similarities[label]!));
  unsure.sort(bestFirst(({ similarities, best }) => similarities[best]!));
  return { groups, unsure, broken, waiting };
}

/** The photos outside a group that come closest to its category, best first. */
export function nearestPhotos(
  photos: readonly Photo[],
  asked: Asked,
  {
    label,
    group,
    count,
  }: { readonly label: number; readonly group: readonly Photo[]; readonly count: number },
): Photo[] {
  const inside = new Set(group);
  return photos
    .filter((photo) => !inside.has(photo) && answerTo(photo, asked))
    .sort((a, b) => b.answer!.similarities[label]! - a.answer!.similarities[label]!)
    .slice(0, count);
}

/** Whether the service may accept the file when it is sent again. */
export function mayChange({ code }: Fault): boolean {
  return !isErrorCode(code) || errorMeanings[code].about !== 'file';
}

/** Pairs of categories that mean almost the same to the model, found once for each question. */
export function synonymsOf(asked: Asked): readonly Synonyms[] {
  const known = synonyms.get(asked);
  if (known) return known;
  const steps = findSynonyms(
    asked.categories.map(({ name }) => name),
    asked.embeddings,
  );
  let step = steps.next();
  while (!step.done) step = steps.next();
  synonyms.set(asked, step.value);
  return step.value;
}

const synonyms = new WeakMap<Asked, readonly Synonyms[]>();
