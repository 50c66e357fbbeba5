import { measureRate, type Rate } from '../../measure/rate.ts';

/** What a measured program is asked, one JSON object a line. */
export type TowerCommand =
  | { readonly batch: number; readonly seconds: number }
  /** The file to write: [N, D] float32. */
  | { readonly embeddings: string };

/** A vision tower with the pictures it is measured with. */
interface Tower {
  readonly count: number;
  /** All pictures, in their order. */
  embed(): Promise<readonly Float32Array[]>;
  /** What encodes pictures over and over, side by side; each call resolves to how many it did. */
  workers(batch: number): readonly (() => Promise<number>)[];
}

/** Answers the commands of `startTower` until there are no more. */
export async function answerCommands(tower: Tower): Promise<void> {
  const say = (answer: object) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  for (const batch of [8, 1]) await measureRate(0.1, tower.workers(batch));
  say({ ready: true });
  for await (const line of console) {
    const command = JSON.parse(line) as TowerCommand;
    if ('embeddings' in command) {
      await Bun.write(
        command.embeddings,
        new Blob([...(await tower.embed())] as Float32Array<ArrayBuffer>[]),
      );
      say({});
    } else {
      say((await measureRate(command.seconds, tower.workers(command.batch))) satisfies Rate);
    }
  }
}
