import type { BrokenFile } from '../classify/classifier.ts';
import type { PictureOptions } from '../contract/options.ts';
import { ServiceError } from '../errors.ts';
import { type JsonText, jsonItems } from './answers.ts';

/** An error's answer, which may name thousands of files. */
export interface Refusal extends JsonText {
  /** Without the list of files. */
  readonly refusal: ServiceError;
}

/** Where the client's own name for a file is known. */
export type IdOf = (file: string) => string | undefined;

/** A broken file as it is answered. */
export function wireFault({ file, code, error }: BrokenFile, idOf: IdOf) {
  const id = idOf(file);
  return { file, ...(id !== undefined && { id }), code, error };
}

/**
 * The refusal of a request with broken pictures, unless `on_error` is skip: files_broken, or image_unsupported if
 * that is the fault of all of them. It is an answer, not a thrown error, because its list of files may be long.
 */
export function refusalOf(
  broken: readonly BrokenFile[],
  { on_error }: Pick<PictureOptions, 'on_error'>,
  idOf: IdOf = () => undefined,
): Refusal | undefined {
  const [first] = broken;
  if (!first || on_error === 'skip') return undefined;
  const others = broken.length - 1;
  const sentence =
    others === 0
      ? `${JSON.stringify(first.file)} cannot be used: ${first.error}`
      : `${broken.length} files cannot be used, the first of them ${JSON.stringify(first.file)}: ${first.error}`;
  const code = broken.every((file) => file.code === 'image_unsupported')
    ? 'image_unsupported'
    : 'files_broken';
  const pieces = function* () {
    yield `${JSON.stringify({ error: sentence, code }).slice(0, -1)},"errors":[`;
    yield* jsonItems(broken.map((fault) => wireFault(fault, idOf)));
    yield ']}';
  };
  return {
    pieces,
    advice: () => `It would name ${broken.length} files that cannot be used; send fewer, or shorter names.`,
    refusal: new ServiceError(code, sentence),
  };
}
