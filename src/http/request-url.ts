import { ServiceError } from '../errors.ts';

/**
 * A request's address. Bun takes the Host header into it as it comes: a wrong one breaks it, and without
 * one (HTTP/1.0, as health checks of load balancers write) only the path is left.
 * @throws ServiceError bad_request
 */
export function urlOf({ url, headers }: Request): URL {
  const parsed = URL.parse(url, 'http://localhost');
  if (parsed) return parsed;
  const host = headers.get('host')?.slice(0, 100) ?? null;
  throw new ServiceError('bad_request', `The Host header ${JSON.stringify(host)} is no host.`);
}
