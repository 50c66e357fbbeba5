/**
 * Preloaded into the service's process: on SIGUSR2 its threads break down over a message that they do not
 * understand, whatever waits behind it. Nothing outside of a process can end one of its threads alone.
 */
const threads = new Set<Worker>();

class MortalWorker extends globalThis.Worker {
  constructor(...parameters: ConstructorParameters<typeof Worker>) {
    super(...parameters);
    threads.add(this);
    this.addEventListener('close', () => threads.delete(this));
  }
}
globalThis.Worker = MortalWorker;

process.on('SIGUSR2', () => {
  for (const thread of threads) thread.postMessage(null);
});
