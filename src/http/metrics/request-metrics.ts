import { Counter, Histogram, type Registry } from 'prom-client';
import { errorCodes } from '../../errors.ts';
import { endpointLabel, workEndpoints } from './endpoint-label.ts';
import type { Metrics } from './metrics.ts';

/** From a single small picture to thousands of them, or a film. */
const REQUEST_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const QUEUE_SECONDS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** What becomes of requests. */
export function createRequestMetrics(registry: Registry): Metrics['requestEnded'] {
  const registers = [registry];
  const requests = new Counter({
    name: 'classify_images_http_requests_total',
    help: 'Requests, by endpoint and status; 499 where the client left before its answer.',
    labelNames: ['endpoint', 'status'],
    registers,
  });
  const durations = new Histogram({
    name: 'classify_images_http_request_duration_seconds',
    help: 'Requests to the endpoints that classify, from the head to the end of the answer, its body included where that is made while it is sent.',
    labelNames: ['endpoint', 'status'],
    buckets: REQUEST_SECONDS,
    registers,
  });
  const failures = new Counter({
    name: 'classify_images_request_failures_total',
    help: 'Requests to the endpoints that classify which were refused, failed or abandoned, by the code of their answer.',
    labelNames: ['code'],
    registers,
  });
  const queueSeconds = new Histogram({
    name: 'classify_images_queue_wait_seconds',
    help: 'How long requests that were let in had waited for their place.',
    labelNames: ['endpoint'],
    buckets: QUEUE_SECONDS,
    registers,
  });
  const uploadedBytes = new Counter({
    name: 'classify_images_received_bytes_total',
    help: 'Bytes of the bodies that were read.',
    labelNames: ['endpoint'],
    registers,
  });

  // What is there from the beginning can be seen to rise from nothing.
  for (const code of errorCodes) failures.inc({ code }, 0);
  for (const endpoint of workEndpoints) {
    requests.inc({ endpoint, status: '200' }, 0);
    durations.zero({ endpoint, status: '200' });
    queueSeconds.zero({ endpoint });
    uploadedBytes.inc({ endpoint }, 0);
  }

  return ({ record, path, status, ms }) => {
    const endpoint = endpointLabel(path);
    requests.inc({ endpoint, status: String(status) });
    if (!workEndpoints.some((known) => known === endpoint)) return;
    durations.observe({ endpoint, status: String(status) }, ms / 1000);
    if (record.fault) failures.inc({ code: record.fault });
    if (record.isAdmitted) queueSeconds.observe({ endpoint }, record.work.queueMs / 1000);
    uploadedBytes.inc({ endpoint }, record.bytes);
  };
}
