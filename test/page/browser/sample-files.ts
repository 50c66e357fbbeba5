import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { paintScene, scenes } from './scenes.ts';

/** A file as Playwright passes it to the page. */
export interface SampleFile {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

const painted = new Map<number, Promise<SampleFile[]>>();

/** `perScene` variants of every scene: `sea-0.jpg`, `sea-1.jpg`, …; painted once. */
export function scenePhotos(perScene: number): Promise<SampleFile[]> {
  const known = painted.get(perScene) ?? paintPhotos(perScene);
  painted.set(perScene, known);
  return known;
}

async function paintPhotos(perScene: number): Promise<SampleFile[]> {
  const variants = [...Array(perScene).keys()];
  return await Promise.all(
    scenes.flatMap((scene) =>
      variants.map(async (variant) => ({
        name: scene.name.replace('.', `-${variant}.`),
        mimeType: 'image/jpeg',
        buffer: Buffer.from(await paintScene(scene, variant)),
      })),
    ),
  );
}

export const sceneColours = scenes.map(({ colour }) => colour);

export function textFile(name: string, text: string): SampleFile {
  return { name, mimeType: 'text/plain', buffer: Buffer.from(text) };
}

/** Writes files into a folder. @returns their paths */
export async function onDisk(folder: string, files: readonly SampleFile[]): Promise<string[]> {
  return await Promise.all(
    files.map(async ({ name, buffer }) => {
      await writeFile(join(folder, name), buffer);
      return join(folder, name);
    }),
  );
}
