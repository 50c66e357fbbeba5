import { type Refusal, refusalOf, sendPatiently } from '../contract/client.ts';
import { isAboutFiles } from '../contract/codes.ts';
import type { VideoDetails, VideoProgress } from '../contract/schemas.ts';
import type { FoundFile } from './intake/found-files.ts';
import { createPhotoList } from './intake/photo-list.ts';
import { type ShownVideo, separatePictures } from './results/frames.ts';
import { answerTo, type Photo, type Question } from './results/photo.ts';
import { classifyPhotos, RunStopped } from './service/classify-photos.ts';
import type { Requests, VideoQuestion } from './service/requests.ts';

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

/** What a run would send. */
export interface Outstanding {
  readonly photos: number;
  readonly video: boolean;
  /** Whether another question was asked before. */
  readonly isNewQuestion: boolean;
}

/** The files on the page, the question about them, and the answers. */
export interface Session {
  readonly photos: readonly Photo[];
  readonly video: ShownVideo | undefined;
  /** The last question. */
  readonly question: Question | undefined;
  /** The name of the model that answered. */
  readonly model: string | undefined;
  /** undefined: nothing runs. */
  readonly progress: RunProgress | undefined;
  /** @returns how many were new */
  addPhotos(files: readonly FoundFile[]): Promise<number>;
  setVideo(file: File): void;
  clear(): void;
  /** What a run with this question would send. */
  outstanding(asked: VideoQuestion): Outstanding;
  /**
   * Sends everything that has no answer to this question yet.
   * @returns why it ended early; undefined if it was complete or was stopped
   */
  run(asked: VideoQuestion): Promise<Refusal | undefined>;
  stop(): void;
  /** The next run sends the photos again that could not be used. */
  forgetFaults(): void;
}

interface SessionOptions {
  readonly requests: Requests;
  readonly untilReady: (signal: AbortSignal) => Promise<void>;
  /** Called after every change. */
  readonly changed: () => void;
}

export function createSession({ requests, untilReady, changed }: SessionOptions): Session {
  const photos = createPhotoList();
  let video: ShownVideo | undefined;
  /** The question that the video's answer or fault belongs to. */
  let videoQuestion: { readonly question: Question; readonly thorough: boolean } | undefined;
  let question: Question | undefined;
  let model: string | undefined;
  let progress: RunProgress | undefined;
  let stopping = new AbortController();

  const tell = (news: Partial<RunProgress>) => {
    if (progress) progress = { ...progress, ...news };
    changed();
  };

  const sending = (signal: AbortSignal) => ({
    signal,
    untilReady,
    // A person sees why it waits, and can stop it.
    patience: { busySeconds: Number.POSITIVE_INFINITY },
    onWait: ({ code, sentence }: Refusal, waitSeconds: number) =>
      tell({ wait: { code, sentence, waitSeconds }, video: undefined }),
  });

  const unanswered = (asked: Question) =>
    photos.all.filter((photo) => !photo.fault && !answerTo(photo, asked));
  const isVideoOpen = (wanted: Question | undefined, thorough: boolean) =>
    video !== undefined &&
    (videoQuestion === undefined || videoQuestion.question !== wanted || videoQuestion.thorough !== thorough);

  /** The last question, if it is asked again. */
  const known = ({ labels, template }: Question): Question | undefined =>
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
        ...sending(signal),
        photos: open,
        question: wanted,
        post: (batch, signal, onSent) => requests.sendPhotos(batch, wanted, { signal, onSent }),
        onSent: (sentBytes) => tell({ sentBytes }),
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

  const runVideo = async (
    wanted: Question,
    thorough: boolean,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> => {
    const { file } = video ?? {};
    if (!file || !isVideoOpen(wanted, thorough)) return undefined;
    video = { file };
    tell({
      startedAt: performance.now(),
      photosDone: 0,
      photosTotal: 0,
      sentBytes: 0,
      totalBytes: file.size,
    });
    const attempt = () =>
      requests.sendVideo(
        file,
        { ...wanted, thorough },
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
      video = { file, ...separatePictures(outcome.answer) };
      model = outcome.answer.model.name;
    } else return refusalOf({ status: 200, body: outcome.answer });
    videoQuestion = { question: wanted, thorough };
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
    outstanding(asked) {
      const again = known(asked);
      const sendable = photos.all.filter(({ fault }) => !fault);
      return {
        photos: (again ? unanswered(again) : sendable).length,
        video: isVideoOpen(again, asked.thorough),
        isNewQuestion: question !== undefined && !again,
      };
    },
    async run({ thorough, ...asked }) {
      if (progress) return undefined;
      question = known(asked) ?? asked;
      stopping = new AbortController();
      const { signal } = stopping;
      progress = { startedAt: performance.now(), photosDone: 0, photosTotal: 0, sentBytes: 0, totalBytes: 0 };
      changed();
      try {
        await runPhotos(question, signal);
        return await runVideo(question, thorough, signal);
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

function isVideoDetails(answer: unknown): answer is VideoDetails {
  return typeof answer === 'object' && answer !== null && 'results' in answer;
}
