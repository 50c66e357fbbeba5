/** What came back. */
export interface Received {
  /** 0: no answer came, the connection broke or was refused. */
  readonly status: number;
  readonly text: string;
  readonly retryAfterSeconds: number | undefined;
}

/** Why a request got no answer. */
export interface Refusal {
  /** The service's code; `unreachable` or `unreadable` where the service itself did not speak. */
  readonly code: string;
  /** For a person. */
  readonly sentence: string;
  readonly remedy: Remedy;
  /** When to ask again, where that helps. */
  readonly waitSeconds: number;
}

/**
 * What helps:
 * - `wait`: the same request later, however often: the service is busy or still starting
 * - `retry`: the same request, a few times
 * - `split`: smaller requests: something on the way limits their size
 * - `stop`: no request will do before a person has changed something
 * - `blame`: the files of this request cannot be used; others may
 */
export type Remedy = 'wait' | 'retry' | 'split' | 'stop' | 'blame';

const DEFAULT_WAIT_SECONDS = 5;

/** About what was asked, not about the files it was asked of. */
const stopCodes = /^(?:unauthorized|categories_|label_|option_invalid|multipart_too_large|not_found|method_)/;

export function refusalOf({ status, text, retryAfterSeconds = DEFAULT_WAIT_SECONDS }: Received): Refusal {
  const { code, error } = errorBody(text);
  return {
    code: code ?? (status === 0 ? 'unreachable' : 'unreadable'),
    sentence: error ?? unexplained(status),
    remedy: remedyOf(status, code ?? ''),
    waitSeconds: retryAfterSeconds,
  };
}

/** For what arrives with a success's status and is none: a proxy's own page, say. */
export function unreadableAnswer(): Refusal {
  const sentence = 'What came back is no answer of this service; something between it and the page speaks.';
  return { code: 'unreadable', sentence, remedy: 'stop', waitSeconds: DEFAULT_WAIT_SECONDS };
}

function remedyOf(status: number, code: string): Remedy {
  if (stopCodes.test(code)) return 'stop';
  switch (status) {
    case 503:
      return 'wait';
    case 0:
    case 408:
    case 429:
    case 502:
    case 504:
      return 'retry';
    case 413:
      return 'split';
    case 401:
    case 403:
    case 404:
      return 'stop';
    default:
      return 'blame';
  }
}

function unexplained(status: number): string {
  return status === 0
    ? 'The service cannot be reached.'
    : `Something between this page and the service answered with status ${status}.`;
}

function errorBody(text: string): { readonly code?: string; readonly error?: string } {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body !== 'object' || body === null) return {};
    const { code, error } = body as { readonly code?: unknown; readonly error?: unknown };
    return {
      ...(typeof code === 'string' && { code }),
      ...(typeof error === 'string' && { error }),
    };
  } catch {
    return {};
  }
}
