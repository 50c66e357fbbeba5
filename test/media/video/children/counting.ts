// Reports progress without end during its turn.
let isPaused = false;

process.on('message', (task: { kind: string; path?: string }) => {
  if (task.kind === 'pause') {
    isPaused = true;
    process.send?.({ kind: 'paused' });
  } else if (task.kind === 'resume') {
    isPaused = false;
  } else if (task.kind === 'open') {
    process.send?.({
      kind: 'opened',
      description: { duration: 1e6, width: 64, height: 64, frameRate: 25, codec: 'h264' },
      cpuSeconds: 60,
    });
  } else if (task.kind === 'find') {
    let seconds = 0;
    setInterval(() => {
      if (!isPaused) process.send?.({ kind: 'progress', stage: 'decoding', seconds: ++seconds });
    }, 5);
  }
});
