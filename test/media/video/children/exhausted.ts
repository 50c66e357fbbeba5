// Reports that the system refused it memory.
process.on('message', () =>
  process.send?.({ kind: 'failed', message: 'open: Cannot allocate memory', outOfMemory: true, details: {} }),
);
