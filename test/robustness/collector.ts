/**
 * Preloaded into the service's process: on SIGWINCH, which processes otherwise ignore, all garbage is collected.
 * How much of it lies about at a moment is a matter of chance, and says nothing of what is held.
 */
process.on('SIGWINCH', () => Bun.gc(true));
