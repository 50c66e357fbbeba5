import { statusOf } from '../../src/contract/codes.ts';
import { type ErrorCode, errorCodes } from '../../src/errors.ts';
import type { Outcome, RawAnswer } from './exchange.ts';
import type { Tally } from './tally.ts';

/** Whatever a client sends: nothing else may come back, and never a 500. */
const refusals: ReadonlySet<number> = new Set([400, 408, 413, 415, 422, 503, 507]);

const known: ReadonlySet<string> = new Set(errorCodes);

/** What a client that breaks HTTP itself, or leaves, may get besides. */
export interface Leniency {
  /** No answer at all. */
  readonly closed?: boolean;
  /** An answer of the HTTP parser, which knows no JSON. */
  readonly bare?: boolean;
}

/**
 * Counts an answer and holds it to the rules that all answers obey: 200 with JSON, or a refusal with
 * `{"error", "code"}`, its status the code's own.
 * @param about what is needed to send the same again
 * @returns the answer, where it is one that keeps the rules
 */
export function judge(
  tally: Tally,
  attack: string,
  outcome: Outcome,
  about: () => string,
  leniency: Leniency = {},
): (RawAnswer & { readonly json: unknown }) | undefined {
  if (outcome === 'silent' || outcome === 'closed') {
    tally.count(attack, outcome);
    if (outcome === 'silent' || !leniency.closed) tally.fault(attack, `${outcome}; ${about()}`);
    return undefined;
  }
  if (leniency.bare && outcome.body === '' && outcome.status >= 400 && outcome.status < 600) {
    tally.count(attack, `${outcome.status} bare`);
    return undefined;
  }
  const json = parseJson(outcome.body);
  const code = codeOf(json);
  tally.count(attack, code === undefined ? outcome.status : `${outcome.status} ${code}`);
  const complaint = complaintOf(outcome, json, code);
  if (complaint === undefined) return { ...outcome, json };
  tally.fault(attack, `${complaint}: ${outcome.status} ${outcome.body.slice(0, 300)}; ${about()}`);
  return undefined;
}

function complaintOf(answer: RawAnswer, json: unknown, code: ErrorCode | undefined): string | undefined {
  if (json === undefined) return 'the body is no JSON';
  if (answer.status === 200) return code === undefined ? undefined : 'an error with status 200';
  if (!refusals.has(answer.status)) return 'an unexpected status';
  if (code === undefined) return 'no code that is documented';
  if (statusOf(code) !== answer.status) return `${code} has another status`;
  const { error } = json as { error?: unknown };
  if (typeof error !== 'string' || !/^[^a-z][^\n]*\.$/.test(error)) return 'no sentence';
  if (answer.status === 503 && !/^[1-9]\d*$/.test(answer.headers.get('retry-after') ?? '')) {
    return 'no Retry-After';
  }
  return undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A 200 may have a file or a category called `code`; only together with `error` it is an error's. */
function codeOf(json: unknown): ErrorCode | undefined {
  if (typeof json !== 'object' || json === null || !('code' in json) || !('error' in json)) return undefined;
  return typeof json.code === 'string' && known.has(json.code) ? (json.code as ErrorCode) : undefined;
}
