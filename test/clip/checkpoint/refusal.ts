import { expect } from 'bun:test';
import { CheckpointError } from '../../../src/clip/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import { TemporaryFolder } from './temporary-folder.ts';

/** Why a checkpoint is refused, without the part of the sentence that names the file. */
export async function refusal(path: string): Promise<string> {
  try {
    using checkpoint = await openCheckpoint(path);
    return `opened as ${checkpoint.layout}`;
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError);
    const { message } = error as CheckpointError;
    expect(message).toStartWith(`The checkpoint ${path} cannot be used: `);
    return message.slice(`The checkpoint ${path} cannot be used: `.length);
  }
}

/** Why a file of these bytes is refused. */
export async function refusalOf(bytes: Uint8Array | string): Promise<string> {
  using folder = new TemporaryFolder();
  return refusal(folder.write('checkpoint.pt', bytes));
}
