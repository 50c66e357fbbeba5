import { Registry } from 'prom-client';
import type { EngineObserver } from '../../engine-observer.ts';
import type { RequestRecord } from '../request-record.ts';
import { createEngineMetrics } from './engine-metrics.ts';
import { addProcessMetrics } from './process-metrics.ts';
import { createRequestMetrics } from './request-metrics.ts';
import { addServiceMetrics, type ServiceView } from './service-metrics.ts';

/**
 * What operators watch the service by, for Prometheus. Every label has a small set of values that no client can
 * add to, and none of them says anything about what clients have sent.
 */
export interface Metrics {
  /** To be told of the engine's work. */
  readonly engine: EngineObserver;
  /** Counts a request when all of it is over. */
  requestEnded(request: EndedRequest): void;
  /** Adds what is read of the service whenever somebody asks. To be called once. */
  watch(view: ServiceView): void;
  /** Prometheus' text format, version 0.0.4. */
  exposition(): Promise<Response>;
}

export interface EndedRequest {
  readonly record: RequestRecord;
  /** As it was sent; unchecked. */
  readonly path: string;
  readonly status: number;
  readonly ms: number;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  addProcessMetrics(registry);
  const engine = createEngineMetrics(registry);
  const requestEnded = createRequestMetrics(registry);
  return {
    engine,
    requestEnded,
    watch: (view) => addServiceMetrics(registry, view),
    async exposition() {
      return new Response(await registry.metrics(), {
        headers: { 'content-type': registry.contentType, 'cache-control': 'no-store' },
      });
    },
  };
}
