// Finds a frame whose pixels are a text, and later makes a picture of something else.
process.on('message', ({ kind }: { kind: string }) => {
  const say = (message: object) => process.send?.(message);
  if (kind === 'open') {
    const description = { duration: 9, width: 64, height: 64, frameRate: 25, codec: 'h264' };
    say({ kind: 'opened', description, cpuSeconds: 60 });
  } else if (kind === 'find') {
    say({ kind: 'frame', timestamp: 1.5, pixels: new Uint8Array(Buffer.from('red'.padEnd(64))) });
    say({ kind: 'found', scenes: 1, warnings: [] });
  } else if (kind === 'refine') {
    say({ kind: 'refined', leftOut: 0 });
  } else if (kind === 'jpegs') {
    say({ kind: 'jpeg', timestamp: 1.5, jpeg: new Uint8Array([1, 2, 3]), differs: true });
    say({ kind: 'jpegs done' });
  }
});
