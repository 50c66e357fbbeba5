import type { Config } from './config.ts';
import type { HttpServer } from './http/server.ts';
import type { Log } from './log.ts';

/** What a person can do, by the system's code. */
const cures: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program has this port; end it, or set PORT to a free one',
  EACCES: 'this port is for privileged users; set PORT to one over 1023',
  EADDRNOTAVAIL: 'this machine does not have the address; set HOST to one of its own, or to 0.0.0.0 for all',
  EINVAL: 'HOST must be an address of this machine, or 0.0.0.0 for all',
};

/** The port that the service is found at. */
export interface Port {
  readonly isOpen: boolean;
  /** Opens it, where it is not open yet. Where it cannot be opened, the log says what a person can do. */
  open(): void;
}

/** @param onUnavailable called once where the port cannot be opened */
export function createPort(
  server: HttpServer,
  { host, port }: Pick<Config, 'host' | 'port'>,
  log: Log,
  onUnavailable: () => void,
): Port {
  let isOpen = false;
  return {
    get isOpen() {
      return isOpen;
    },
    open() {
      if (isOpen) return;
      isOpen = true;
      try {
        const { url } = server.listen();
        log.info({ url }, 'listening');
      } catch (fault) {
        const { code } = fault as NodeJS.ErrnoException;
        const cure = cures[code ?? ''];
        log.error(
          cure === undefined ? { err: fault } : { code },
          `cannot listen on ${host}:${port}${cure === undefined ? '' : `: ${cure}`}`,
        );
        onUnavailable();
      }
    },
  };
}
