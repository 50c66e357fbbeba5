import type { VideoProgress } from '../contract/schemas.ts';
import { createPhotoList, type FoundFile } from './intake/photo-list.ts';
import { type ShownVideo, separatePictures } from './results/frames.ts';
import { answerTo, type Photo, type Question } from './results/photo.ts';
import { classifyPhotos, RunStopped } from './service/classify-photos.ts';
import { classifyVideo } from './service/classify-video.ts';
import { pause } from './service/pause.ts';
import type { Refusal } from './service/refusal.ts';
import type { Requests } from './service/requests.ts';

/** How far a run has come. */
export interface RunProgress {
  readonly startedAt: number;
  readonly photosDone: number;
  readonly photosTotal: number;
  readonly sentBytes: number;
  readonly totalBytes: number;
  /** What the service says while it looks through the video; undefined while it is sent. */
  readonly video?: VideoProgress | undefined;
  /** Why nothing moves. */
  readonly wait?: Refusal | undefined;
}

/** What would have to be sent. */
export interface Outstanding {
  readonly photos: number;
  readonly video: boolean;
  /** Something else was asked before. */
  readonly isNewQuestion: boolean;
}

/** What is on the page, what was asked of it, and what came of it. */
export interface Session {
  readonly photos: readonly Photo[];
  readonly video: ShownVideo | undefined;
  /** What was asked last. */
  readonly question: Question | undefined;
  /** The name of the model that answered. */
  readonly model: string | undefined;
  /** undefined: nothing runs. */
  readonly progress: RunProgress | undefined;
  /** @returns how many were new */
  addPhotos(files: readonly FoundFile[]): Promise<number>;
  setVideo(file: File): void;
  clear(): void;
  /** What would have to be sent to have everything answered. */
  outstanding(labels: readonly string[], template: string): Outstanding;
  /**
   * Asks for everything that has no answer to this question yet.
   * @returns why it ended early, if it did and nobody stopped it
   */
  run(labels: readonly string[], template: string): Promise<Refusal | undefined>;
  stop(): void;
  /** Lets the photos that could not be used be sent once more. */
  forgetFaults(): void;
}

/** @param changed called after every change */
export function createSession(requests: Requests, changed: () => void): Session {
  const photos = createPhotoList();
  let video: ShownVideo | undefined;
  let videoQuestion: Question | undefined;
  let question: Question | undefined;
  let model: string | undefined;
  let progress: RunProgress | undefined;
  let stopping = new AbortController();

  const tell = (news: Partial<RunProgress>) => {
    if (progress) progress = { ...progress, ...news };
    changed();
  };

  const unanswered = (asked: Question) =>
    photos.all.filter((photo) => !photo.fault && !answerTo(photo, asked));
  const isVideoOpen = (asked: Question | undefined) =>
    video !== undefined && (videoQuestion === undefined || videoQuestion !== asked);

  const asked = (labels: readonly string[], template: string): Question | undefined =>
    question?.template === template && sameLabels(question.labels, labels) ? question : undefined;

  const runPhotos = async (wanted: Question, signal: AbortSignal) => {
    for (let open = unanswered(wanted); open.length > 0; open = unanswered(wanted)) {
      let done = 0;
      const finish = () => tell({ photosDone: ++done, wait: undefined });
      tell({
        photosDone: 0,
        photosTotal: open.length,
        sentBytes: 0,
        totalBytes: open.reduce((sum, { bytes }) => sum + bytes, 0),
      });
      await classifyPhotos({
        photos: open,
        question: wanted,
        signal,
        pause,
        post: (batch, signal, onSent) => requests.sendPhotos(batch, wanted, signal, onSent),
        onSent: (sentBytes) => tell({ sentBytes }),
        onWait: (wait) => tell({ wait }),
        onModel: ({ name }) => {
          model = name;
        },
        onAnswer(photo, answer) {
          photo.answer = answer;
          finish();
        },
        onFault(photo, fault) {
          photo.fault = fault;
          finish();
        },
      });
    }
  };

  const runVideo = async (wanted: Question, signal: AbortSignal): Promise<Refusal | undefined> => {
    const { file } = video ?? {};
    if (!file || !isVideoOpen(wanted)) return undefined;
    video = { file };
    tell({
      startedAt: performance.now(),
      photosDone: 0,
      photosTotal: 0,
      sentBytes: 0,
      totalBytes: file.size,
    });
    const outcome = await classifyVideo({
      signal,
      pause,
      post: (signal, onSent, onText) => requests.sendVideo(file, wanted, { signal, onSent, onText }),
      onSent: (sentBytes) => tell({ sentBytes, wait: undefined }),
      onProgress: (progress) => tell({ video: progress, wait: undefined }),
      onWait: (wait) => tell({ wait, video: undefined }),
    });
    // Another one was chosen meanwhile.
    if (video?.file !== file) return undefined;
    if ('remedy' in outcome) {
      if (outcome.remedy !== 'blame' && outcome.remedy !== 'split') return outcome;
      video = { file, fault: { code: outcome.code, sentence: outcome.sentence } };
    } else {
      video = { file, ...separatePictures(outcome) };
      model = outcome.model.name;
    }
    videoQuestion = wanted;
    return undefined;
  };

  return {
    get photos() {
      return photos.all;
    },
    get video() {
      return video;
    },
    get question() {
      return question;
    },
    get model() {
      return model;
    },
    get progress() {
      return progress;
    },
    async addPhotos(files) {
      const added = await photos.add(files, changed);
      changed();
      return added;
    },
    setVideo(file) {
      video = { file };
      videoQuestion = undefined;
      changed();
    },
    clear() {
      stopping.abort();
      photos.clear();
      video = videoQuestion = question = undefined;
      changed();
    },
    outstanding(labels, template) {
      const known = asked(labels, template);
      const sendable = photos.all.filter(({ fault }) => !fault);
      return {
        photos: (known ? unanswered(known) : sendable).length,
        video: isVideoOpen(known),
        isNewQuestion: question !== undefined && !known,
      };
    },
    async run(labels, template) {
      if (progress) return undefined;
      question = asked(labels, template) ?? { labels, template };
      stopping = new AbortController();
      const { signal } = stopping;
      progress = { startedAt: performance.now(), photosDone: 0, photosTotal: 0, sentBytes: 0, totalBytes: 0 };
      changed();
      try {
        await runPhotos(question, signal);
        return await runVideo(question, signal);
      } catch (fault) {
        if (fault instanceof RunStopped) return fault.refusal;
        if (signal.aborted) return undefined;
        throw fault;
      } finally {
        progress = undefined;
        changed();
      }
    },
    stop() {
      stopping.abort();
    },
    forgetFaults() {
      for (const photo of photos.all) delete photo.fault;
      changed();
    },
  };
}

function sameLabels(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((label, index) => label === b[index]);
}
