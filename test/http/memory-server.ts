import { start } from './harness.ts';

/**
 * A server in a process of its own: tells its port, then, when asked, the most memory it ever had. An argument is
 * the memory for parts of uploads, in bytes.
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
