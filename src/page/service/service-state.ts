import type { Health } from '../../contract/schemas.ts';

export type ServiceState = Health | { readonly state: 'unreachable' };

const POLL_MS = 1000;

/** Follows what the service can do. */
export interface ServiceWatch {
  /** Asks now, and goes on asking until it is ready. */
  check(): void;
}

/**
 * Asks /health, which says all that /ready judges by and answers 200 as long as there is anything to say: no
 * failed request in the browser's console while a model is being fetched.
 */
export function watchService(tell: (state: ServiceState) => void): ServiceWatch {
  let isAsking = false;
  const ask = async () => {
    if (isAsking) return;
    isAsking = true;
    for (;;) {
      const state = await fetchState();
      tell(state);
      if (state.state === 'ready') break;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    isAsking = false;
  };
  return { check: () => void ask() };
}

async function fetchState(): Promise<ServiceState> {
  try {
    const response = await fetch('health', { cache: 'no-store' });
    return response.ok ? ((await response.json()) as Health) : { state: 'unreachable' };
  } catch {
    return { state: 'unreachable' };
  }
}
