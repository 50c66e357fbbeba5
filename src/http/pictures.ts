import type { Classifier } from '../classify/classifier.ts';
import type { Config } from '../config.ts';
import { statusOf } from '../contract/codes.ts';
import { type AnswerOptions, parseOptions } from '../contract/options.ts';
import type { ServiceError } from '../errors.ts';
import type { Admission } from './admission.ts';
import { type Answer, answerCategorize, answerImage, refusalOf } from './answers.ts';
import { readBody, type StreamedResponse } from './body.ts';
import type { PartMemory } from './incoming-part.ts';
import { sendJson } from './json-answer.ts';
import { boundaryOf, readParts } from './multipart.ts';
import type { RequestTally } from './request-record.ts';
import { urlOf } from './request-url.ts';
import type { Lease, Resources } from './resources.ts';
import type { Spool, SpoolSpace, Spools } from './spool.ts';
import { receiveUpload, takeLabelMemory } from './upload.ts';

export interface PictureEndpoint {
  readonly classifier: Classifier;
  readonly admission: Admission;
  readonly resources: Resources;
  readonly partMemory: PartMemory;
  readonly spools: Spools;
  readonly spaceOf: (lease: Lease) => SpoolSpace;
  readonly onStorageFault: (fault: ServiceError) => void;
  readonly limits: Config['limits'];
  readonly passedOverBytes: number;
  /** Called when a large answer is complete, and the connection is still its own. */
  readonly beforeClose: () => void;
  /** Takes note of a refusal that is answered here. */
  readonly note: (refusal: ServiceError) => void;
}

const answers = { categorize: answerCategorize, image: answerImage };

/**
 * One request to /categorize or /image, from its query to its answer: the form, whose pictures are encoded
 * while it arrives, then the ranking.
 * @throws ServiceError; with it, all work of this request is dropped
 */
export async function classifyPictures(
  use: keyof typeof answers,
  request: Request,
  endpoint: PictureEndpoint,
  tally: RequestTally,
): Promise<StreamedResponse> {
  const options = parseOptions(urlOf(request).searchParams);
  const boundary = boundaryOf(request.headers);
  endpoint.admission.refuseWhenFull();
  const lease = endpoint.resources.enter('pictureUploads', request);
  tally.isAdmitted = true;
  try {
    const answer = await answerOf(use, { request, boundary, options, lease, tally }, endpoint);
    const { refusal, brokenFiles } = answer;
    if (refusal) endpoint.note(refusal);
    return await sendJson(
      answer,
      {
        status: refusal ? statusOf(refusal.code) : 200,
        headers: brokenFiles > 0 ? { 'x-broken-files': String(brokenFiles) } : {},
      },
      lease,
      endpoint.beforeClose,
    );
  } catch (fault) {
    // What is under way ends, whatever it was.
    lease.abort(fault);
    throw fault;
  }
}

interface PictureRequest {
  readonly request: Request;
  readonly boundary: string;
  readonly options: AnswerOptions;
  readonly lease: Lease;
  readonly tally: RequestTally;
}

async function answerOf(
  use: keyof typeof answers,
  { request, boundary, options, lease, tally }: PictureRequest,
  { classifier, admission, spools, spaceOf, onStorageFault, ...endpoint }: PictureEndpoint,
): Promise<Answer> {
  const collection = classifier.collect(lease.signal, tally.work);
  const labelOptions = { ...(options.templates && { templates: options.templates }) };
  await using held = new AsyncDisposableStack();
  let opening: Promise<Spool> | undefined;
  const spool = () => {
    opening ??= spools.open(spaceOf(lease)).then((opened) => held.use(opened));
    return opening;
  };
  try {
    const categories = await receiveUpload({
      parts: readParts(readBody(request, lease, tally), boundary),
      classifier,
      collection,
      labelOptions,
      limits: endpoint.limits,
      endsWithFault: options.onError === 'fail',
      passedOverBytes: endpoint.passedOverBytes,
      memory: endpoint.partMemory,
      room: { lease, spool, onStorageFault },
      work: admission.createWork(lease, (ms) => {
        tally.work.queueMs += ms;
      }),
    });
    lease.give('pictureUploads', 1);
    if (!categories) {
      const refusal = refusalOf(await collection.broken(), options);
      if (!refusal) throw new Error('an upload that ended early without a fault: this is a bug');
      return refusal;
    }
    takeLabelMemory(categories, labelOptions, classifier.model.embeddingDimension, lease);
    return await answers[use]({ model: classifier.model, collection, categories, options, lease });
  } finally {
    tally.files = collection.names().length;
  }
}
