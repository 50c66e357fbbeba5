/** What is asked of every photo. Each change makes a new object: answers keep theirs, and are compared by identity. */
export interface Question {
  readonly labels: readonly string[];
  /** A sentence with one `{}`; empty: the labels as they are. */
  readonly template: string;
}

/** How well one photo fits each category. */
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

/** One of the photos on the page. The browser reads its bytes from the disk only when they are needed. */
export interface Photo {
  readonly id: number;
  readonly file: File;
  /** The file's size, kept because browsers look it up on the disk each time. */
  readonly bytes: number;
  /** The file's name, with folders where it came in one. */
  readonly path: string;
  answer?: PhotoAnswer;
  fault?: Fault;
}

/** How well a photo fits one category. */
export interface Standing {
  /** Index of the category. */
  readonly label: number;
  readonly score: number;
  readonly similarity: number;
}

/** The best categories of a photo, best first. */
export function bestOf({ best, scores, similarities }: PhotoAnswer): readonly Standing[] {
  return best.map((label) => ({ label, score: scores[label]!, similarity: similarities[label]! }));
}

/** The photo's answer, where it answers this question. */
export function answerTo(photo: Photo, question: Question): PhotoAnswer | undefined {
  return photo.answer?.question === question ? photo.answer : undefined;
}
