import { start } from './harness.ts';

/** A server in a process of its own: tells its port, then, when asked, the most memory it ever had. */
const { port } = start();
let peakBytes = 0;
setInterval(() => {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}, 5);
process.on('message', () => process.send?.({ peakBytes }));
process.send?.({ port });
