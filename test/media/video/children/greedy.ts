// Allocates 40 MiB again and again, and reports progress.
const taken: Uint8Array[] = [];

process.on('message', () => {
  setInterval(() => {
    if (taken.length < 50) taken.push(new Uint8Array(40 * 1024 ** 2).fill(1));
    process.send?.({ kind: 'progress', stage: 'indexing', seconds: taken.length });
  }, 20);
});
