import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Classifier } from '../../../src/classify/classifier.ts';
import {
  cosine,
  decide,
  SYNONYM_COSINE,
  scoreAgainstBackground,
  softmax,
} from '../../../src/classify/decide.ts';
import { parseConfig } from '../../../src/config.ts';
import { backgroundPhrases } from '../../../src/contract/background.ts';
import { namedTemplates } from '../../../src/contract/options.ts';
import { startEngine } from '../../../src/engine.ts';
import { createLog } from '../../../src/log.ts';
import { bitmap, type Colour, encodePicture } from '../../fixtures/colour-pictures.ts';
import { unpackGoldenCheckpoint } from '../../fixtures/golden.ts';
import type { Findings, Sitting } from '../bench.ts';
import { benchModel, compiledIn } from '../model/compiled.ts';
import { randomNumbers } from '../random-numbers.ts';
import { percent, type Table } from '../report/table.ts';

/** Categories that are asked together. */
const COUNTS = [1, 2, 5, 20] as const;
/** Questions about each picture and count: half of them have the picture's own category. */
const QUESTIONS = 20;
const SEED = 7;

const templates = { none: ['{}'], ...namedTemplates } as const;
type TemplateName = keyof typeof templates;

/** Neutral phrases to choose from; the service's come first. */
const phraseSets: Readonly<Record<string, readonly string[]>> = {
  service: backgroundPhrases,
  '1: object': ['object'],
  '1: something': ['something'],
  '1: something else': ['something else'],
  '1: a photo': ['a photo'],
  '2: object, things': ['object', 'things'],
  '4: those of LERF': ['object', 'things', 'stuff', 'texture'],
  '6: LERF, something, something else': [
    'object',
    'things',
    'stuff',
    'texture',
    'something',
    'something else',
  ],
  '8: LERF, something (else), photo, image': [
    'object',
    'things',
    'stuff',
    'texture',
    'something',
    'something else',
    'photo',
    'image',
  ],
};

interface Picture {
  readonly file: string;
  readonly embedding: Float32Array;
  /** Undefined: it fits no category. */
  readonly truth: string | undefined;
}

/** A model with pictures whose categories are known. */
interface Case {
  readonly title: string;
  readonly categories: readonly string[];
  readonly classifier: Classifier;
  readonly pictures: readonly Picture[];
  /** How the categories of the pictures are known. */
  readonly note: string;
}

/** How the background is compared with. */
interface Way {
  readonly phrases: readonly string[];
  readonly isVerbatim: boolean;
  readonly isMean: boolean;
}

/** Answers to questions that have the picture's own category, and to others. */
interface Tally {
  /** Its own category. */
  right: number;
  /** Another category although its own was there. */
  wrong: number;
  /** None although its own category was there. */
  missed: number;
  /** None, which is right because its own category was not there. */
  refused: number;
  /** A category although its own was not there. */
  invented: number;
}

/** Right and wrong answers with and without the background. */
export async function othersPart(sitting: Sitting): Promise<Findings> {
  await using cleanup = new AsyncDisposableStack();
  const cases = await openCases(sitting, cleanup);
  const tables: Table[] = [];
  const data: object[] = [];
  for (const one of cases) {
    sitting.tell(`${one.title}: ${one.pictures.length} pictures`);
    const answers = await countAnswers(one);
    const ways = await compareWays(one);
    const synonyms = await compareWords(one);
    tables.push(answersTable(one, answers), waysTable(one, ways), wordsTable(one, synonyms));
    data.push({ title: one.title, answers, ways, synonyms });
  }
  return { tables, data };
}

const signal = new AbortController().signal;

/** Embeddings of texts in named templates. */
async function embed({ classifier }: Case, texts: readonly string[], template: TemplateName) {
  const embeddings = await classifier.embedTexts(texts, { template: templates[template] }, { signal });
  return new Map(texts.map((text, index) => [text, embeddings[index]!]));
}

interface Question {
  readonly picture: Picture;
  readonly asked: readonly string[];
}

/** The same questions for every way. */
function questionsOf({ pictures, categories }: Case, count: number): Question[] {
  const next = randomNumbers(SEED);
  const questions: Question[] = [];
  for (const picture of pictures) {
    const others = categories.filter((category) => category !== picture.truth);
    for (let index = 0; index < QUESTIONS; index++) {
      const own = picture.truth !== undefined && index % 2 === 0 ? [picture.truth] : [];
      const shuffled = others.map((category) => [next(), category] as const).sort(([a], [b]) => a - b);
      const rest = shuffled.map(([, category]) => category).slice(0, count - own.length);
      questions.push({ picture, asked: [...own, ...rest] });
    }
  }
  return questions;
}

function tallyOf(questions: readonly Question[], answerOf: (question: Question) => string | null): Tally {
  const tally: Tally = { right: 0, wrong: 0, missed: 0, refused: 0, invented: 0 };
  for (const question of questions) {
    const { truth } = question.picture;
    const answer = answerOf(question);
    if (truth !== undefined && question.asked.includes(truth)) {
      if (answer === truth) tally.right += 1;
      else if (answer === null) tally.missed += 1;
      else tally.wrong += 1;
    } else if (answer === null) tally.refused += 1;
    else tally.invented += 1;
  }
  return tally;
}

async function countAnswers(one: Case) {
  const { logitScale } = one.classifier.model;
  const rows: { count: number; template: TemplateName; threshold: string; tally: Tally }[] = [];
  for (const template of ['none', 'photo'] as const) {
    const embeddings = await embed(one, one.categories, template);
    const withBackground = await answering(one, template, {
      phrases: backgroundPhrases,
      isVerbatim: false,
      isMean: false,
    });
    for (const count of COUNTS) {
      const questions = questionsOf(one, count);
      const score = softmax(logitScale);
      for (const threshold of [undefined, 0.5]) {
        const without = tallyOf(questions, ({ picture, asked }) => {
          const similarities = asked.map((category) => cosine(picture.embedding, embeddings.get(category)!));
          const scores = score(Float64Array.from(similarities));
          const ranked = asked.map((category, index) => ({ category, score: scores[index]! }));
          return (
            decide(
              ranked.sort((a, b) => b.score - a.score),
              { threshold },
            )?.category ?? null
          );
        });
        rows.push({
          count,
          template,
          threshold: threshold === undefined ? 'none' : 'threshold 0.5',
          tally: without,
        });
      }
      rows.push({ count, template, threshold: 'others', tally: tallyOf(questions, withBackground) });
    }
  }
  return rows;
}

/** @returns the answer to a question with this background: the most similar category, if it beats the background */
async function answering(
  one: Case,
  template: TemplateName,
  { phrases, isVerbatim, isMean }: Way,
): Promise<(question: Question) => string | null> {
  const { logitScale } = one.classifier.model;
  const categories = await embed(one, one.categories, template);
  const background = [...(await embed(one, phrases, isVerbatim ? 'none' : template)).values()];
  return ({ picture, asked }) => {
    const matches = background.map((phrase) => cosine(picture.embedding, phrase));
    const match = isMean
      ? matches.reduce((sum, similarity) => sum + similarity, 0) / matches.length
      : Math.max(...matches);
    const ranked = asked
      .map((category) => ({ category, similarity: cosine(picture.embedding, categories.get(category)!) }))
      .sort((a, b) => b.similarity - a.similarity)
      .map((each) => ({ ...each, score: scoreAgainstBackground(logitScale, each.similarity, match) }));
    return decide(ranked, { others: true })?.category ?? null;
  };
}

async function compareWays(one: Case) {
  const questions = questionsOf(one, 5);
  const rows: { name: string; template: TemplateName; way: string; tally: Tally }[] = [];
  for (const [name, phrases] of Object.entries(phraseSets)) {
    for (const template of ['none', 'photo', 'ensemble'] as const) {
      for (const isVerbatim of template === 'none' ? [false] : [false, true]) {
        for (const isMean of phrases.length === 1 ? [false] : [false, true]) {
          const answer = await answering(one, template, { phrases, isVerbatim, isMean });
          const way = `${isVerbatim ? 'verbatim' : 'in template'}, ${isMean ? 'mean' : 'max'}`;
          rows.push({ name, template, way, tally: tallyOf(questions, answer) });
        }
      }
    }
  }
  return rows;
}

/** Pairs that mean the same, nearly the same, or something else. */
const wordPairs: readonly (readonly [kind: string, first: string, second: string])[] = [
  ['same text to the tokenizer', 'dog', 'Dog'],
  ['article', 'dog', 'a dog'],
  ['article', 'red', 'a red'],
  ['plural', 'dog', 'dogs'],
  ['synonym', 'notebook computer', 'laptop'],
  ['synonym', 'gray', 'grey'],
  ['kin', 'dog', 'puppy'],
  ['kin', 'red', 'orange'],
  ['other', 'dog', 'cat'],
  ['other', 'red', 'blue'],
  ['other', 'dog', 'car'],
];

async function compareWords(one: Case) {
  const rows: { kind: string; first: string; second: string; cosines: number[] }[] = [];
  for (const [kind, first, second] of wordPairs) {
    const cosines: number[] = [];
    for (const template of ['none', 'photo', 'ensemble'] as const) {
      const embeddings = await embed(one, [first, second], template);
      cosines.push(cosine(embeddings.get(first)!, embeddings.get(second)!));
    }
    rows.push({ kind, first, second, cosines });
  }
  return rows;
}

/** Of questions that have the own category, and of those that do not; and the mean of both. */
function shares({ right, wrong, missed, refused, invented }: Tally) {
  const own = right / (right + wrong + missed);
  const other = refused / (refused + invented);
  return {
    own,
    wrong: wrong / (right + wrong + missed),
    missed: missed / (right + wrong + missed),
    other,
    both: (own + other) / 2,
  };
}

function answersTable({ title, note }: Case, rows: Awaited<ReturnType<typeof countAnswers>>): Table {
  return {
    title: `Right and wrong answers, ${title}`,
    columns: [
      'categories, template, rule',
      'fits: right',
      'fits: other',
      'fits: none',
      'does not fit: none',
      'both',
    ],
    rows: rows.map(({ count, template, threshold, tally }) => {
      const { own, wrong, missed, other, both } = shares(tally);
      return [`${count}, ${template}, ${threshold}`, ...[own, wrong, missed, other, both].map(percent)];
    }),
    note: `${note} “Fits”: one of the categories is the picture’s own. “Both”: the mean of the two columns that should be 100 %.`,
  };
}

function waysTable({ title }: Case, rows: Awaited<ReturnType<typeof compareWays>>): Table {
  return {
    title: `Backgrounds with 5 categories, ${title}`,
    columns: ['phrases; template; way', 'fits: right', 'does not fit: none', 'both'],
    rows: rows.map(({ name, template, way, tally }) => {
      const { own, other, both } = shares(tally);
      return [`${name}; ${template}; ${way}`, percent(own), percent(other), percent(both)];
    }),
  };
}

function wordsTable({ title }: Case, rows: Awaited<ReturnType<typeof compareWords>>): Table {
  return {
    title: `Cosines of words, ${title}`,
    columns: ['words', 'no template', 'photo', 'ensemble'],
    rows: rows.map(({ kind, first, second, cosines }) => [
      `${kind}: ${first}, ${second}`,
      ...cosines.map((value) => value.toFixed(3)),
    ]),
    note: `Categories above ${SYNONYM_COSINE} are reported as almost the same.`,
  };
}

const colours: Readonly<Record<string, Colour>> = {
  red: [205, 25, 30],
  orange: [245, 130, 25],
  yellow: [245, 220, 40],
  green: [40, 150, 50],
  cyan: [40, 200, 210],
  blue: [30, 60, 190],
  purple: [125, 40, 150],
  pink: [245, 150, 185],
  brown: [110, 65, 30],
  beige: [225, 205, 170],
  black: [15, 15, 15],
  grey: [128, 128, 128],
  white: [248, 248, 248],
};
const things = ['cat', 'dog', 'car', 'banana', 'bicycle', 'house', 'sea', 'book'];

/** Of each colour: alone, in two shades, and in front of something else. Of no colour: all of them. */
async function colourPictures(): Promise<{ file: string; bytes: Uint8Array; truth: string | undefined }[]> {
  const made: { file: string; bytes: Uint8Array; truth: string | undefined }[] = [];
  const add = async (file: string, truth: string | undefined, colourAt: (x: number, y: number) => Colour) => {
    made.push({ file, truth, bytes: await encodePicture(bitmap(320, 240, colourAt), 'jpeg') });
  };
  const grained = (colour: Colour, x: number, y: number, by = 10): Colour => {
    const grain = (((x * 7919 + y * 104_729) % 21) - 10) * (by / 10);
    const [red = 0, green = 0, blue = 0] = colour.map((value) => Math.min(255, Math.max(0, value + grain)));
    return [red, green, blue];
  };
  const all = Object.values(colours);
  for (const [name, colour] of Object.entries(colours)) {
    await add(`${name}-plain`, name, (x, y) => grained(colour, x, y));
    await add(`${name}-texture`, name, (x, y) => grained(colour, x, y, 25));
    const behind = name === 'white' || name === 'beige' ? colours.black! : colours.white!;
    await add(`${name}-thing`, name, (x, y) => {
      const isInside = Math.abs(x - 160) < 130 && Math.abs(y - 120) < 95;
      return grained(isInside ? colour : behind, x, y);
    });
  }
  for (const size of [16, 24, 40]) {
    await add(`all-${size}`, undefined, (x, y) => {
      const square = Math.floor(x / size) + 7 * Math.floor(y / size);
      return grained(all[square % all.length]!, x, y);
    });
  }
  return made;
}

async function openClassifier(model: string, cleanup: AsyncDisposableStack): Promise<Classifier> {
  const compiled = await compiledIn('fp32', await benchModel(model));
  if (!compiled) throw new Error(`The model cannot be compiled: ${model}`);
  const config = parseConfig({}, []);
  return cleanup.use(await startEngine(compiled, config, createLog('silent'))).classifier;
}

async function embedPictures(
  classifier: Classifier,
  files: readonly { readonly file: string; readonly bytes: Uint8Array }[],
): Promise<ReadonlyMap<string, Float32Array>> {
  const collection = classifier.collect({ signal });
  for (const { file, bytes } of files) await collection.add(file, bytes);
  const embeddings = await collection.embeddings();
  return new Map(embeddings.map(({ file, embedding }) => [file, embedding]));
}

/** The demo model and the golden one; or one model with photos in folders that have the names of their categories. */
async function openCases({ options, tell }: Sitting, cleanup: AsyncDisposableStack): Promise<Case[]> {
  if (options.model !== 'random') return [await openNamed(options.model, options.photos, cleanup)];
  tell('the demo model');
  return [await openDemo(cleanup), await openGolden(cleanup)];
}

async function openDemo(cleanup: AsyncDisposableStack): Promise<Case> {
  const classifier = await openClassifier('demo', cleanup);
  const made = await colourPictures();
  const embeddings = await embedPictures(classifier, made);
  return {
    title: 'demo model',
    classifier,
    categories: [...Object.keys(colours), ...things],
    pictures: made.flatMap(({ file, truth }) => {
      const embedding = embeddings.get(file);
      return embedding ? [{ file, embedding, truth }] : [];
    }),
    note: 'Made pictures: 13 colours in three ways, and three pictures of all colours at once. To this model, things such as “cat” are as neutral as the background.',
  };
}

const goldenImages = join(import.meta.dir, '../../golden/images');

async function openGolden(cleanup: AsyncDisposableStack): Promise<Case> {
  const folder = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const classifier = await openClassifier(await unpackGoldenCheckpoint('clip-tiny.pt', folder), cleanup);
  const names = (await readdir(goldenImages)).filter((name) => /\.(?:jpg|png)$/.test(name)).sort();
  const files = await Promise.all(
    names.map(async (file) => ({ file, bytes: await Bun.file(join(goldenImages, file)).bytes() })),
  );
  const embeddings = await embedPictures(classifier, files);
  const categories = [...Object.keys(colours), ...things];
  const texts = await classifier.embedTexts(categories, {}, { signal });
  const pictures = [...embeddings].map(([file, embedding]): Picture => {
    const similarities = texts.map((text) => cosine(embedding, text));
    return { file, embedding, truth: categories[similarities.indexOf(Math.max(...similarities))] };
  });
  return {
    title: 'golden model',
    classifier,
    categories,
    pictures,
    note: 'Random weights, which know nothing: a picture’s own category is the one that the model prefers to all others, so its figures show chance, not quality.',
  };
}

async function openNamed(
  model: string,
  photos: string | undefined,
  cleanup: AsyncDisposableStack,
): Promise<Case> {
  if (photos === undefined) {
    throw new Error(
      '--model needs --photos FOLDER with a folder of photos for each of at least 20 categories',
    );
  }
  const classifier = await openClassifier(model, cleanup);
  const names = await readdir(photos, { recursive: true });
  const paths = names.filter((name) => /^[^/]+\/[^/]+\.(?:jpe?g|png|webp)$/i.test(name));
  const files = await Promise.all(
    paths.map(async (file) => ({ file, bytes: await Bun.file(join(photos, file)).bytes() })),
  );
  const embeddings = await embedPictures(classifier, files);
  const truthOf = (file: string) => file.split('/')[0];
  return {
    title: model,
    classifier,
    categories: [...new Set(paths.flatMap((file) => truthOf(file) ?? []))],
    pictures: [...embeddings].map(([file, embedding]) => ({ file, embedding, truth: truthOf(file) })),
    note: `Photos of ${photos}; the name of a photo’s folder is its category.`,
  };
}
