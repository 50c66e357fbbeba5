import { statusOf } from '../contract/codes.ts';
import { ServiceError } from '../errors.ts';

/** Every failure's body: `{"error", "code", …}`. */
export function errorBody({ code, message, details }: ServiceError) {
  return { error: message, code, ...details };
}

/** A failure's answer. */
export function errorResponse(error: ServiceError): Response {
  const { code, details } = error;
  const { retry_after_seconds: retryAfterSeconds, allow } = details;
  const headers: Record<string, string> = {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
  };
  if (typeof retryAfterSeconds === 'number') headers['retry-after'] = String(retryAfterSeconds);
  if (Array.isArray(allow)) headers.allow = allow.join(', ');
  if (code === 'unauthorized') headers['www-authenticate'] = 'Bearer realm="classify-images"';
  return new Response(JSON.stringify(errorBody(error)), { status: statusOf(code), headers });
}

/**
 * What a client is told of anything that was thrown.
 * @param hasLeft whether the client is gone: then whatever broke, broke because of that
 */
export function publicError(thrown: unknown, requestId: string, hasLeft: boolean): ServiceError {
  if (hasLeft)
    return new ServiceError('client_gone', 'The client left before its answer.', {}, { cause: thrown });
  if (thrown instanceof ServiceError) return thrown;
  return new ServiceError(
    'internal',
    `This is a bug: something broke inside the service. Please report it with the request id ${requestId}.`,
    { request_id: requestId },
    { cause: thrown },
  );
}
