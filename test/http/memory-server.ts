import { start } from './harness.ts';

/**
 * A server in its own process. It prints its port and, on request, its peak memory. The argument is the memory for
 * parts of uploads, in bytes.
 */
const [, , partBytes] = process.argv;
const { port } = start(
  partBytes === undefined ? {} : { tuning: { resources: { partBytes: Number(partBytes) } } },
);
let peakBytes = 0;
setInterval(() => {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}, 5);
process.on('message', () => process.send?.({ peakBytes }));
process.send?.({ port });
