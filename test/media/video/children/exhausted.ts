// Was refused memory by the system.
process.on('message', () =>
  process.send?.({ kind: 'failed', message: 'open: Cannot allocate memory', outOfMemory: true, details: {} }),
);
