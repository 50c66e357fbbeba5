import type { Classifier } from '../classify/classifier.ts';
import type { Config } from '../config.ts';
import type { Semaphore } from '../semaphore.ts';
import type { Admission } from './admission.ts';
import { type Answer, answerCategorize, answerImage } from './answers.ts';
import { readBody, resumeBody, type StallLimit } from './body.ts';
import { boundaryOf, readParts } from './multipart.ts';
import { parseOptions } from './options.ts';
import type { RequestTally } from './request-record.ts';
import { urlOf } from './request-url.ts';
import { receiveUpload } from './upload.ts';

export interface PictureEndpoint {
  readonly admission: Admission;
  /** A share for each large picture that may arrive at the same time. */
  readonly largePictures: Semaphore;
  readonly limits: Config['limits'];
  readonly stall: StallLimit;
}

const answers = { categorize: answerCategorize, image: answerImage };

/**
 * One request to /categorize or /image, from its query to its answer: a permit, then the form, whose
 * pictures are encoded while it arrives, then the ranking.
 * @throws ServiceError; with it, all work of this request is dropped
 */
export async function classifyPictures(
  use: keyof typeof answers,
  request: Request,
  classifier: Classifier,
  { admission, largePictures, limits, stall }: PictureEndpoint,
  tally: RequestTally,
): Promise<Response> {
  const options = parseOptions(urlOf(request).searchParams);
  const boundary = boundaryOf(request.headers);
  admission.refuseWhenFull();
  const body = readBody(request, stall, () => admission.isContended, tally);
  const arrival = body.next();
  using place = await admission.enter(request.signal, arrival);
  tally.isAdmitted = true;
  tally.work.queueMs += place.waitedMs;
  const failure = new AbortController();
  const collection = classifier.collect(AbortSignal.any([request.signal, failure.signal]), tally.work);
  try {
    const parts = readParts(counted(resumeBody(arrival, body), tally), boundary);
    const labelOptions = { ...(options.templates && { templates: options.templates }) };
    const categories = await receiveUpload(
      parts,
      classifier,
      collection,
      labelOptions,
      limits,
      largePictures,
      request.signal,
    );
    return answerResponse(await answers[use](classifier.model, collection, categories, options));
  } catch (fault) {
    failure.abort(fault);
    throw fault;
  } finally {
    tally.files = collection.names().length;
  }
}

async function* counted(body: AsyncIterable<Uint8Array>, tally: RequestTally): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    tally.bytes += chunk.byteLength;
    yield chunk;
  }
}

function answerResponse({ json, brokenFiles }: Answer): Response {
  return new Response(json, {
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      ...(brokenFiles > 0 && { 'x-broken-files': String(brokenFiles) }),
    },
  });
}
