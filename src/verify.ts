import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { manifest } from '../models/manifest.ts';
import type { Classifier } from './classify/classifier.ts';
import { withoutControls } from './cli/output/escape-text.ts';
import { prepareModel } from './clip/store/prepare-model.ts';
import { knownSums } from './clip/store/search.ts';
import { ModelStoreError } from './clip/store/storage-error.ts';
import { ConfigError, parseConfig } from './config.ts';
import { startEngine } from './engine.ts';
import { createLog } from './log.ts';
import type { Precision } from './precision.ts';

/** The example of OpenAI's README: the probabilities that it prints for its picture. */
const published = [
  ['a diagram', 0.9927937],
  ['a dog', 0.00421068],
  ['a cat', 0.00299572],
] as const;

/** The largest accepted difference of a probability. */
const tolerances: Readonly<Record<Precision, number>> = {
  // The published probabilities were computed in half precision on a GPU.
  fp32: 0.002,
  // No probabilities are published for int8. Logits that differ by a few tenths change these by up to 0.01.
  int8: 0.02,
};

const PICTURE_URL = 'https://raw.githubusercontent.com/openai/CLIP/main/CLIP.png';
const PICTURE_SHA256 = '308a3ca4503f1c7a07803916c369d78c4ef501e5ab7fc727da9b5e1d2f9ec85b';
const PICTURE_TIMEOUT_MS = 30_000;

/** 0: the probabilities agree with the published ones; 1: they do not; 2: picture or weights are missing. */
type VerifyOutcome = 0 | 1 | 2;

/** The picture or the weights are missing. The message says which. */
export class MissingError extends Error {
  override readonly name = 'MissingError';
}

/** The input and output of `verify`. */
interface VerifyParts {
  /** @throws MissingError */
  picture(): Promise<Uint8Array>;
  /** @throws MissingError */
  classifier(): Promise<{ readonly classifier: Classifier } & AsyncDisposable>;
  print(line: string): void;
}

/** Classifies the example of OpenAI's README and compares with the published probabilities. */
export async function verify({ picture, classifier, print }: VerifyParts): Promise<VerifyOutcome> {
  try {
    // The picture comes first: it takes seconds, but the model may have to be downloaded and compiled.
    const bytes = await picture();
    await using engine = await classifier();
    return await verifyModel(engine.classifier, bytes, print);
  } catch (fault) {
    if (!(fault instanceof MissingError)) throw fault;
    print(fault.message);
    print('NOT TRIED: see above.');
    return 2;
  }
}

async function verifyModel(
  classifier: Classifier,
  picture: Uint8Array,
  print: VerifyParts['print'],
): Promise<VerifyOutcome> {
  const { name, precision, sha256 } = classifier.model;
  print(`weights: ${name}, ${precision}, sha256 ${sha256}`);
  const sums = manifest.filter((model) => model.name === 'ViT-B/32').flatMap(knownSums);
  if (!sums.includes(sha256)) {
    print(
      `These weights are not known to be OpenAI's ViT-B/32, whose files have the sha256 ${sums.join(' or ')}.`,
    );
    print('NOT TRIED: nothing is published for these weights.');
    return 2;
  }
  return await compare(classifier, picture, tolerances[precision], print);
}

async function compare(
  classifier: Classifier,
  picture: Uint8Array,
  tolerance: number,
  print: VerifyParts['print'],
): Promise<0 | 1> {
  const labels = published.map(([label]) => label);
  const categories = classifier.parseCategories(new TextEncoder().encode(JSON.stringify(labels)));
  const collection = classifier.collect({ signal: new AbortController().signal });
  await collection.add('CLIP.png', picture);
  const [broken] = await collection.broken();
  if (broken !== undefined) {
    print(`FAIL: the picture was not accepted: ${broken.error}`);
    return 1;
  }
  const [ranking] = await collection.rankCategories(categories, {});
  const scores = new Map(ranking?.candidates.map(({ name, score }) => [name, score]));

  let worst = 0;
  for (const [label, expected] of published) {
    const score = scores.get(label) ?? Number.NaN;
    const difference = Math.abs(score - expected);
    // Math.max keeps NaN, which must not pass.
    worst = Math.max(worst, difference);
    print(
      `${label.padEnd(10)} published ${expected.toFixed(7)}  here ${score.toFixed(7)}  off by ${difference.toFixed(7)}`,
    );
  }
  const passed = worst <= tolerance;
  print(
    `${passed ? 'PASS' : 'FAIL'}: the largest difference is ${worst.toFixed(7)}; allowed are ${tolerance}.`,
  );
  return passed ? 0 : 1;
}

/**
 * Loads the picture from a path or from OpenAI's repository.
 * @throws MissingError
 */
export async function examplePicture(path: string | undefined, url = PICTURE_URL): Promise<Uint8Array> {
  const from = path ?? url;
  const bytes = await (path === undefined ? fetchBytes(url) : readFile(path)).catch((error) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MissingError(
      `The picture ${from} is not available (${reason}). Download ${PICTURE_URL} elsewhere and give its path: bun run verify CLIP.png`,
    );
  });
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== PICTURE_SHA256) {
    throw new MissingError(
      `The picture ${from} is not the published one: its sha256 is ${sha256} instead of ${PICTURE_SHA256}.`,
    );
  }
  return bytes;
}

async function fetchBytes(url: string): Promise<Uint8Array> {
  const response = await fetch(url, { signal: AbortSignal.timeout(PICTURE_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`the answer is ${response.status}`);
  return await response.bytes();
}

/**
 * Starts the model that the service would serve with these settings.
 * @param precision replaces the one of the settings
 */
async function configuredClassifier(
  precision?: 'fp32',
): Promise<{ readonly classifier: Classifier } & AsyncDisposable> {
  try {
    const config = parseConfig();
    const log = createLog(config.logLevel);
    const never = new AbortController().signal;
    const model = precision === undefined ? config.model : { ...config.model, precision };
    const compiled = await prepareModel({ model, log }, () => undefined, never);
    return await startEngine(compiled, config, log);
  } catch (error) {
    const expected = error instanceof ModelStoreError || error instanceof ConfigError;
    throw expected
      ? new MissingError(`The weights are not available: ${error.message}`, { cause: error })
      : error;
  }
}

if (import.meta.main) {
  const downloaded = examplePicture(process.argv[2]);
  const picture = () => downloaded;
  const print = (line: string) => console.log(withoutControls(line));
  // fp32 shows that weights and code are right. Then the precision that the service would serve, which may be int8.
  let outcome = await verify({ picture, classifier: () => configuredClassifier('fp32'), print });
  if (outcome === 0 && parseConfig().model.precision !== 'fp32') {
    outcome = await verify({ picture, classifier: () => configuredClassifier(), print });
  }
  process.exit(outcome);
}
