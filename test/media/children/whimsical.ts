// The first letter of a picture chooses what this process does. By default, the square contains the process id, the
// number of pictures that the process has had, and the picture's checksum.
import { readSync } from 'node:fs';

let pictures = 0;
const taken: Uint8Array[] = [];

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.on('message', ({ byteLength, targetBytes }: { byteLength: number; targetBytes: number }) => {
  const bytes = new Uint8Array(byteLength);
  for (let at = 0; at < byteLength; ) {
    const count = readSync(0, bytes, at, byteLength - at, null);
    if (count === 0) process.exit(0);
    at += count;
  }
  pictures += 1;
  switch (String.fromCharCode(bytes[0] ?? 0)) {
    case 'c': // crash
      process.kill(process.pid, 'SIGABRT');
      return;
    case 'd': // die like that, but as the first picture only
      if (pictures === 1) break;
      process.kill(process.pid, 'SIGABRT');
      return;
    case 'b': // busy without end
      for (;;);
    case 'w': // wait without end
      return;
    case 'g': // greedy
      setInterval(() => taken.length < 50 && taken.push(new Uint8Array(40 * 1024 ** 2).fill(1)), 20);
      return;
    case 'r': // riddle
      process.send?.({ kind: 'decoded', pixels: 'a nice picture' });
      return;
    case 's': // small square
      process.send?.({ kind: 'decoded', pixels: new Uint8Array(3) });
      return;
    case 'f': // faulty
      process.send?.({ kind: 'failed', reason: 'unsupported', message: 'a strange kind' });
      return;
    case 'x': // a fault of ours
      process.send?.({ kind: 'failed', message: 'undefined is not a function' });
      return;
  }
  const pixels = new Uint8Array(targetBytes);
  const view = new DataView(pixels.buffer);
  view.setUint32(0, process.pid);
  view.setUint32(4, pictures);
  view.setUint32(8, Bun.hash.crc32(bytes));
  process.send?.({ kind: 'decoded', pixels });
});
process.send?.({ kind: 'started' });
