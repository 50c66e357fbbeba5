import type { Health } from '../../contract/schemas.ts';

export type ServiceState = Health | { readonly state: 'unreachable' };

const POLL_MS = 1000;

/** Watches the state of the service. */
export interface ServiceWatch {
  /** Asks now, and then every second until the service is ready. */
  check(): void;
  /** Resolves when a check that begins now, or already runs, finds the service ready. @throws the signal's reason */
  untilReady(signal: AbortSignal): Promise<void>;
}

/**
 * Asks /health, which says everything that /ready judges by, but with status 200: so the browser's console shows no
 * failed requests while a model is being fetched.
 */
export function watchService(tell: (state: ServiceState) => void): ServiceWatch {
  let asking: Promise<void> | undefined;
  const ask = async () => {
    for (;;) {
      const state = await fetchState();
      tell(state);
      if (state.state === 'ready') break;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    asking = undefined;
  };
  const check = () => (asking ??= ask());
  return {
    check: () => void check(),
    untilReady: (signal) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const stop = () => reject(signal.reason);
        signal.addEventListener('abort', stop, { once: true });
        check().then(() => {
          signal.removeEventListener('abort', stop);
          resolve();
        }, reject);
      }),
  };
}

async function fetchState(): Promise<ServiceState> {
  try {
    const response = await fetch('health', { cache: 'no-store' });
    return response.ok ? ((await response.json()) as Health) : { state: 'unreachable' };
  } catch {
    return { state: 'unreachable' };
  }
}
