import { version } from '../../package.json';
import type { EngineState, LoadingProgress, ModelSummary } from '../classify/classifier.ts';
import type { Health, Ready, WirePrecisionReport, WireProgress } from '../contract/schemas.ts';
import { ServiceError } from '../errors.ts';
import { wireModel } from './answers.ts';

/** When clients should ask again while the model loads, unless the remaining time is known. */
const RETRY_AFTER_SECONDS = 5;
const MAX_RETRY_AFTER_SECONDS = 60;

export const welcome = `classify-images ${version}: finds the best match between pictures or a video and your categories.

POST /categorize  pictures and categories in, the best category of every picture out
POST /image       pictures and categories in, the best picture of every category out
POST /video       a video and categories in, the best frame of it for every category out

Try it:     curl -F files=@photo.jpg -F categories=cat,dog http://HOST:PORT/categorize
            curl -F video=@film.mp4 -F categories=cat,dog http://HOST:PORT/video
Read more:  /swagger
State:      /health, /ready, /metrics
`;

/** What `/health` says besides the state of the engine. */
interface ServiceFacts {
  readonly isDraining: boolean;
  /** Whether questions need the operator's key. */
  readonly needsKey: boolean;
  readonly uptimeSeconds: number;
}

/** Answers whenever the process runs. `state` says what it can do. */
export function healthOf(state: EngineState, { isDraining, needsKey, uptimeSeconds }: ServiceFacts): Health {
  return {
    status: 'ok',
    state: isDraining ? 'shutting_down' : state.state,
    ...(state.state !== 'ready' && { message: state.sentence }),
    ...(state.state === 'loading' && { progress: wireProgress(state.progress) }),
    model: state.state === 'ready' ? wireModel(state.classifier.model) : null,
    precision_report: state.state === 'ready' ? wirePrecisionReport(state.classifier.model) : null,
    needs_key: needsKey,
    version,
    uptime_seconds: uptimeSeconds,
  };
}

/**
 * Whether load balancers should send requests here. A full queue does not matter: new requests get 503 with
 * `Retry-After`, and removing this replica would only fill the queues of the others.
 * @throws ServiceError model_loading, model_missing, shutting_down
 */
export function readiness(state: EngineState, isDraining: boolean): Ready {
  if (isDraining) {
    throw new ServiceError('shutting_down', 'The service is shutting down; it finishes accepted requests.', {
      retry_after_seconds: RETRY_AFTER_SECONDS,
    });
  }
  if (state.state !== 'ready') throw notReady(state);
  return { ready: true, model: wireModel(state.classifier.model) };
}

/** The error for requests that need the model: model_loading or model_missing. */
export function notReady(state: Exclude<EngineState, { state: 'ready' }>): ServiceError {
  if (state.state === 'unavailable') {
    return new ServiceError('model_missing', state.sentence, {
      retry_after_seconds: Math.max(Math.ceil(state.retryAfterSeconds), 1),
    });
  }
  const { secondsLeft = RETRY_AFTER_SECONDS } = state.progress;
  return new ServiceError('model_loading', `${state.sentence} Try again soon.`, {
    retry_after_seconds: Math.min(Math.max(Math.ceil(secondsLeft), 1), MAX_RETRY_AFTER_SECONDS),
    progress: wireProgress(state.progress),
  });
}

function wirePrecisionReport({ precisionReport }: ModelSummary): WirePrecisionReport | null {
  if (!precisionReport) return null;
  const { accepted, reasons, pictures, texts, bestLabels, fp32Products, rowProducts } = precisionReport;
  const wireAgreement = ({ count, meanCosine, minCosine }: typeof pictures) => ({
    count,
    mean_cosine: meanCosine,
    min_cosine: minCosine,
  });
  return {
    accepted,
    reasons: [...reasons],
    pictures: wireAgreement(pictures),
    texts: wireAgreement(texts),
    best_labels: { ...bestLabels },
    fp32_products: [...fp32Products],
    row_scale_products: [...rowProducts],
  };
}

function wireProgress({ stage, bytesDone, bytesTotal, secondsLeft }: LoadingProgress): WireProgress {
  return {
    stage,
    ...(bytesDone !== undefined && { bytes_done: bytesDone }),
    ...(bytesTotal !== undefined && { bytes_total: bytesTotal }),
    ...(secondsLeft !== undefined && { seconds_left: secondsLeft }),
  };
}
