/** What is asked of every photo. A new object for every change: answers are compared by identity. */
export interface Question {
  readonly labels: readonly string[];
  /** A sentence with one `{}`; empty: the labels as they are. */
  readonly template: string;
}

/** How one photo stands to every category. */
export interface PhotoAnswer {
  readonly question: Question;
  /** [labels] cosine with each category. */
  readonly similarities: Float32Array;
  /** [labels] softmax over the categories, 0 to 1. */
  readonly scores: Float32Array;
  /** Indices of the best categories, best first. */
  readonly best: readonly number[];
}

/** Why a file could not be used. */
export interface Fault {
  readonly code: string;
  /** For a person. */
  readonly sentence: string;
}

/** One of the photos on the page; the browser reads its bytes from the disk only when they are wanted. */
export interface Photo {
  readonly id: number;
  readonly file: File;
  /** The file's size, asked for once: browsers look it up on the disk each time. */
  readonly bytes: number;
  /** As its owner knows it, with folders where it came in one. */
  readonly path: string;
  answer?: PhotoAnswer;
  fault?: Fault;
}

/** The answer, where it is one to this question. */
export function answerTo(photo: Photo, question: Question): PhotoAnswer | undefined {
  return photo.answer?.question === question ? photo.answer : undefined;
}
