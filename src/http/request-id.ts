const acceptable = /^[A-Za-z0-9._:+/=-]{1,64}$/;

/** The caller's own id where it is harmless in a log and a header, otherwise a new one. */
export function requestIdOf(headers: Headers): string {
  const given = headers.get('x-request-id');
  return given && acceptable.test(given) ? given : crypto.randomUUID();
}
