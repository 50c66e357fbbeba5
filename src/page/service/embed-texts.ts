import {
  type Received,
  type Refusal,
  refusalOf,
  type SendingOptions,
  sendPatiently,
} from '../../contract/client.ts';
import type { EmbeddingsAnswer } from '../../contract/schemas.ts';
import { type Origin, vectorOf } from './embed-photos.ts';

/** Embeddings of texts in a template, kept, so that a text that was asked for before needs no request. */
export interface TextEmbeddings {
  /** @returns undefined if it was not asked for, or is refused */
  get(text: string, template: string): Float32Array | undefined;
  /** Why the service refuses the text, as a sentence. */
  faultOf(text: string, template: string): string | undefined;
  /**
   * Asks for all texts that are not known.
   * @returns why it ended early, if the reason is not a single text
   * @throws the signal's reason
   */
  ask(texts: readonly string[], template: string, sending: SendingOptions): Promise<Refusal | undefined>;
  /** Forgets all embeddings, because they are of another model. */
  forget(): void;
}

/** Texts in a request: some seconds of work. */
const MAX_TEXTS = 200;
/** Texts kept besides those of the question: 10 MB. */
const KEPT = 5000;

export function createTextEmbeddings(
  post: (texts: readonly string[], template: string, signal: AbortSignal) => Promise<Received>,
  onOrigin: (origin: Origin) => void,
): TextEmbeddings {
  /** A string: why the text is refused. */
  const kept = new Map<string, Float32Array | string>();
  /** How many texts the question has. They are kept, however many they are. */
  let wanted = 0;
  const keyOf = (text: string, template: string) => `${template}\n${text}`;
  const keep = (text: string, template: string, value: Float32Array | string) => {
    const key = keyOf(text, template);
    // A map keeps the order in which its keys were set.
    kept.delete(key);
    kept.set(key, value);
    for (const oldest of kept.keys()) {
      if (kept.size <= wanted + KEPT) break;
      kept.delete(oldest);
    }
  };
  const get = (text: string, template: string) => kept.get(keyOf(text, template));

  const ask = async (
    texts: readonly string[],
    template: string,
    sending: SendingOptions,
  ): Promise<Refusal | undefined> => {
    const outcome = await sendPatiently(() => post(texts, template, sending.signal), sending);
    sending.signal.throwIfAborted();
    if ('answer' in outcome) {
      const answer = outcome.answer as EmbeddingsAnswer | null | undefined;
      if (answer?.embeddings?.length !== texts.length)
        return refusalOf({ status: 200, body: outcome.answer });
      onOrigin(answer);
      for (const [place, { embedding }] of answer.embeddings.entries()) {
        keep(texts[place]!, template, vectorOf(embedding));
      }
      return undefined;
    }
    const { refusal } = outcome;
    if (!isAboutTexts(refusal)) return refusal;
    if (texts.length === 1) {
      keep(texts[0]!, template, refusal.sentence);
      return undefined;
    }
    const middle = Math.ceil(texts.length / 2);
    return (
      (await ask(texts.slice(0, middle), template, sending)) ??
      (await ask(texts.slice(middle), template, sending))
    );
  };

  return {
    get(text, template) {
      const known = get(text, template);
      return typeof known === 'string' ? undefined : known;
    },
    faultOf(text, template) {
      const known = get(text, template);
      return typeof known === 'string' ? known : undefined;
    },
    async ask(texts, template, sending) {
      const distinct = [...new Set(texts)];
      wanted = distinct.length;
      const missing: string[] = [];
      for (const text of distinct) {
        const known = get(text, template);
        if (known === undefined) missing.push(text);
        else keep(text, template, known);
      }
      for (let at = 0; at < missing.length; at += MAX_TEXTS) {
        const refusal = await ask(missing.slice(at, at + MAX_TEXTS), template, sending);
        if (refusal) return refusal;
      }
      return undefined;
    },
    forget: () => kept.clear(),
  };
}

/** A request of fewer texts may be accepted. */
function isAboutTexts({ code, client }: Refusal): boolean {
  return code.startsWith('label_') || code.startsWith('categories_') || client === 'send_less';
}
