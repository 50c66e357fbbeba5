// Uses all processor time, and reports progress.
process.on('message', () => {
  process.send?.({
    kind: 'opened',
    description: { duration: 1, width: 64, height: 64, frameRate: 25, codec: 'h264' },
    cpuSeconds: 0.5,
  });
  setInterval(() => {
    for (const until = performance.now() + 50; performance.now() < until; );
    process.send?.({ kind: 'progress', stage: 'decoding', seconds: 0 });
  });
});
