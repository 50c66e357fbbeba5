// Takes 40 MiB after 40 MiB, and says that all goes well.
const taken: Uint8Array[] = [];

process.on('message', () => {
  setInterval(() => {
    if (taken.length < 50) taken.push(new Uint8Array(40 * 1024 ** 2).fill(1));
    process.send?.({ kind: 'progress', stage: 'indexing', seconds: taken.length });
  }, 20);
});
