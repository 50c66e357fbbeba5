import { averageEmbedding } from '../classify/decide.ts';
import { backgroundPhrases } from '../contract/background.ts';
import { type Refusal, refusalOf, sendPatiently } from '../contract/client.ts';
import { isAboutFiles } from '../contract/codes.ts';
import type { Fit } from '../contract/options.ts';
import type { VideoDetails, VideoProgress } from '../contract/schemas.ts';
import type { FoundFile } from './intake/found-files.ts';
import { createPhotoList } from './intake/photo-list.ts';
import { type ShownVideo, separatePictures } from './results/frames.ts';
import type { Asked, Category, Photo, Question } from './results/photo.ts';
import { embedPhotos, type Origin, RunStopped } from './service/embed-photos.ts';
import { createTextEmbeddings } from './service/embed-texts.ts';
import type { Requests, VideoOptions } from './service/requests.ts';

/** The progress of a run. */
export interface RunProgress {
  readonly startedAt: number;
  readonly photosDone: number;
  readonly photosTotal: number;
  readonly sentBytes: number;
  readonly totalBytes: number;
  /** The service's progress with the video; undefined while the video is sent. */
  readonly video?: VideoProgress | undefined;
  /** Why the run waits. */
  readonly wait?:
    | { readonly code: Refusal['code']; readonly sentence: string; readonly waitSeconds: number }
    | undefined;
}

/** The words of the question, and what became of them. */
export interface WordsState {
  /** Whether the service is being asked for some of them. */
  readonly areAsked: boolean;
  /** Why the service cannot be asked. */
  readonly refusal: Refusal | undefined;
  /** Why a category is refused, as a sentence. */
  faultOf(category: Category): string | undefined;
}

/** The files on the page, the question about them, and the answers. */
export interface Session {
  readonly photos: readonly Photo[];
  readonly video: ShownVideo | undefined;
  /** The question that photos are answered by: the last one whose words are all known. */
  readonly asked: Asked | undefined;
  readonly words: WordsState;
  /** The name of the model that answered. */
  readonly model: string | undefined;
  /** undefined: no file is being sent. */
  readonly progress: RunProgress | undefined;
  /** How many photos have to be sent. */
  readonly unsent: number;
  /** Whether the video was not searched with this question. */
  isVideoOpen(question: Question, options: VideoOptions): boolean;
  /** @returns how many were new */
  addPhotos(files: readonly FoundFile[]): Promise<number>;
  removePhoto(photo: Photo): void;
  setVideo(file: File): void;
  clear(): void;
  /** Sorts photos by another question, at once if its words are known. */
  ask(question: Question): Promise<void>;
  /** Another part of each photo is looked at: all have to be sent again. */
  setFit(fit: Fit): void;
  /**
   * Sends the photos that were not sent yet, also those added meanwhile.
   * @returns why it ended early; undefined if it was complete, was stopped, or runs already
   */
  sendPhotos(): Promise<Refusal | undefined>;
  /** @returns as `sendPhotos` */
  searchVideo(question: Question, options: VideoOptions): Promise<Refusal | undefined>;
  stop(): void;
  /** The next run sends these photos again. */
  forgetFaults(photos: readonly Photo[]): void;
}

interface SessionOptions {
  readonly requests: Requests;
  readonly untilReady: (signal: AbortSignal) => Promise<void>;
  /** Called after every change. */
  readonly changed: () => void;
}

/** A person who types a word pauses this long when it is whole. */
const TYPING_PAUSE_MS = 150;

/** The model changes when an operator changes it. More changes in a run mean that different services answer. */
const MAX_ORIGINS = 3;

export function createSession({ requests, untilReady, changed }: SessionOptions): Session {
  const photos = createPhotoList();
  let video: ShownVideo | undefined;
  /** The question and options that the video's answer or fault belongs to. */
  let videoQuestion: string | undefined;
  let question: Question = { categories: [], template: '' };
  let asked: Asked | undefined;
  let model: Origin | undefined;
  let fit: Fit = 'crop';
  let origins = 0;
  let progress: RunProgress | undefined;
  let refusal: Refusal | undefined;
  let stopping = new AbortController();
  let asking: AbortController | undefined;

  const tell = (news: Partial<RunProgress>) => {
    if (progress) progress = { ...progress, ...news };
    changed();
  };

  const originOf = (of: Fit) => `${model?.sha256} ${model?.precision} ${of}`;

  /** Notes what made an answer. Embeddings of another model are worth nothing then. */
  const takeOrigin = (origin: Origin) => {
    if (model?.sha256 === origin.sha256 && model.precision === origin.precision) return;
    if (model) texts.forget();
    model = origin;
    origins += 1;
    if (origins > MAX_ORIGINS) {
      throw new RunStopped(refusalOf({ status: 200, body: 'different models' }));
    }
    // Photos of the other model are sent again, and the words are asked for again.
    if (origins > 1) void ask(question);
  };

  const texts = createTextEmbeddings(
    (list, template, signal) => requests.sendTexts(list, template, signal),
    takeOrigin,
  );

  const sending = (signal: AbortSignal) => ({
    signal,
    untilReady,
    // A person sees why it waits, and can stop it.
    patience: { busySeconds: Number.POSITIVE_INFINITY },
    onWait: ({ code, sentence }: Refusal, waitSeconds: number) =>
      tell({ wait: { code, sentence, waitSeconds }, video: undefined }),
  });

  const unsent = () =>
    photos.all.filter(({ fault, embedding }) => !fault && (!model || embedding?.origin !== originOf(fit)));

  const phrasesOf = ({ categories }: Question) => categories.flatMap(({ phrases }) => phrases);

  /** The question in numbers. @returns undefined if some of its words are not known */
  const inNumbers = (wanted: Question): Asked | undefined => {
    const { template } = wanted;
    const background = backgroundPhrases.map((text) => texts.get(text, template));
    const categories = wanted.categories.filter((category) => faultOf(category, template) === undefined);
    const embeddings = categories.map(({ phrases }) => {
      const known = phrases.map((text) => texts.get(text, template));
      return known.every(isKnown) ? averageEmbedding(known) : undefined;
    });
    if (!model || !background.every(isKnown) || !embeddings.every(isKnown)) return undefined;
    const logitScale = model.logit_scale;
    return { categories, template, embeddings, background, logitScale, origin: originOf(fit) };
  };

  const faultOf = ({ phrases }: Category, template: string) =>
    phrases.map((text) => texts.faultOf(text, template)).find((sentence) => sentence !== undefined);

  /** The same question, asked again, stays the same object: its answers need not be computed again. */
  const take = (next: Asked | undefined) => {
    if (!asked || !next || wordsOf(next) !== wordsOf(asked)) asked = next;
  };
  const wordsOf = ({ categories, template, origin }: Asked) => JSON.stringify([categories, template, origin]);

  const ask = async (wanted: Question): Promise<void> => {
    question = wanted;
    asking?.abort();
    asking = undefined;
    refusal = undefined;
    const known = wanted.categories.length === 0 ? undefined : inNumbers(wanted);
    if (known || wanted.categories.length === 0) {
      take(known);
      changed();
      return;
    }
    const mine = new AbortController();
    asking = mine;
    changed();
    try {
      await new Promise((resolve) => setTimeout(resolve, TYPING_PAUSE_MS));
      mine.signal.throwIfAborted();
      const phrases = [...backgroundPhrases, ...phrasesOf(wanted)];
      const refused = await texts.ask(phrases, wanted.template, {
        ...sending(mine.signal),
        onWait: () => undefined,
      });
      // The model has changed, and all words are asked for again.
      if (asking !== mine) return;
      refusal = refused;
      if (!refused) take(inNumbers(wanted));
    } catch (fault) {
      if (fault instanceof RunStopped) refusal = fault.refusal;
      else if (!mine.signal.aborted) throw fault;
    } finally {
      if (asking === mine) {
        asking = undefined;
        changed();
      }
    }
  };

  /** Runs one thing at a time. @returns why it ended early */
  const run = async (
    work: (signal: AbortSignal) => Promise<Refusal | undefined>,
  ): Promise<Refusal | undefined> => {
    if (progress) return undefined;
    stopping = new AbortController();
    const { signal } = stopping;
    origins = Math.min(1, origins);
    progress = { startedAt: performance.now(), photosDone: 0, photosTotal: 0, sentBytes: 0, totalBytes: 0 };
    changed();
    try {
      return await work(signal);
    } catch (fault) {
      if (fault instanceof RunStopped) return fault.refusal;
      if (signal.aborted) return undefined;
      throw fault;
    } finally {
      progress = undefined;
      changed();
    }
  };

  const sendAll = async (signal: AbortSignal): Promise<undefined> => {
    let done = 0;
    let sentBefore = 0;
    // Photos may be added meanwhile.
    for (let open = unsent(); open.length > 0; open = unsent()) {
      const finish = () => tell({ photosDone: ++done, wait: undefined });
      const sentFit = fit;
      const before = sentBefore;
      sentBefore += open.reduce((sum, { bytes }) => sum + bytes, 0);
      tell({ photosTotal: done + open.length, totalBytes: sentBefore });
      await embedPhotos({
        ...sending(signal),
        photos: open,
        post: (batch, signal, onSent) => requests.sendPhotos(batch, sentFit, { signal, onSent }),
        onSent: (sentBytes) => tell({ sentBytes: before + sentBytes }),
        onOrigin(origin) {
          takeOrigin(origin);
          return originOf(sentFit);
        },
        onEmbedding(photo, embedding) {
          photo.embedding = embedding;
          finish();
        },
        onFault(photo, fault) {
          photo.fault = fault;
          finish();
        },
      });
    }
  };

  const search = async (
    wanted: Question,
    options: VideoOptions,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> => {
    const { file } = video ?? {};
    if (!file) return undefined;
    video = { file };
    tell({ totalBytes: file.size });
    const attempt = () =>
      requests.sendVideo(
        file,
        { ...wanted, ...options },
        {
          signal,
          onSent: (sentBytes) => tell({ sentBytes, wait: undefined }),
          onProgress(progress) {
            // The browser knows how much is sent before the service does.
            if (progress.stage !== 'uploading') tell({ video: progress, wait: undefined });
          },
        },
      );
    const outcome = await sendPatiently(attempt, sending(signal));
    // Another video was chosen in the meantime.
    if (video?.file !== file) return undefined;
    if ('refusal' in outcome) {
      const { code, sentence } = outcome.refusal;
      if (!isAboutFiles(outcome.refusal)) return outcome.refusal;
      video = { file, fault: { code, sentence } };
    } else if (isVideoDetails(outcome.answer)) {
      video = { file, ...separatePictures(outcome.answer), rules: { others: options.others } };
    } else return refusalOf({ status: 200, body: outcome.answer });
    videoQuestion = JSON.stringify([wanted, options]);
    return undefined;
  };

  return {
    get photos() {
      return photos.all;
    },
    get video() {
      return video;
    },
    get asked() {
      return asked;
    },
    get words() {
      const { template } = question;
      return {
        areAsked: asking !== undefined,
        refusal,
        faultOf: (category: Category) => faultOf(category, template),
      };
    },
    get model() {
      return model?.model;
    },
    get progress() {
      return progress;
    },
    get unsent() {
      return unsent().length;
    },
    isVideoOpen: (wanted, options) =>
      video !== undefined && videoQuestion !== JSON.stringify([wanted, options]),
    async addPhotos(files) {
      const added = await photos.add(files, changed);
      changed();
      return added;
    },
    removePhoto(photo) {
      photos.remove(photo);
      changed();
    },
    setVideo(file) {
      video = { file };
      videoQuestion = undefined;
      changed();
    },
    clear() {
      stopping.abort();
      photos.clear();
      video = videoQuestion = undefined;
      changed();
    },
    ask,
    setFit(wanted) {
      if (wanted === fit) return;
      stopping.abort();
      fit = wanted;
      void ask(question);
    },
    sendPhotos: () => run(sendAll),
    searchVideo: (wanted, options) => run((signal) => search(wanted, options, signal)),
    stop() {
      stopping.abort();
    },
    forgetFaults(some) {
      for (const photo of some) delete photo.fault;
      changed();
    },
  };
}

function isKnown<Value>(value: Value | undefined): value is Value {
  return value !== undefined;
}

function isVideoDetails(answer: unknown): answer is VideoDetails {
  return typeof answer === 'object' && answer !== null && 'results' in answer;
}
