import { createHash, timingSafeEqual } from 'node:crypto';
import { ServiceError } from '../errors.ts';

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * Guards an endpoint with the operator's key. Digests are compared, so that neither the time nor the
 * length tells anything about the key.
 * @param apiKey undefined: everybody is let in
 * @returns throws ServiceError unauthorized where the key is missing or wrong
 */
export function createGuard(apiKey: string | undefined): (headers: Headers) => void {
  if (apiKey === undefined) return () => undefined;
  const expected = digestOf(apiKey);
  return (headers) => {
    const bearer = /^bearer +(.+)$/i.exec(headers.get('authorization') ?? '')?.[1];
    const given = headers.get('x-api-key') ?? bearer;
    if (given === undefined) {
      throw new ServiceError(
        'unauthorized',
        'This service needs an API key: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.',
      );
    }
    if (!timingSafeEqual(digestOf(given), expected)) {
      throw new ServiceError('unauthorized', 'The API key is not the one of this service.');
    }
  };
}
