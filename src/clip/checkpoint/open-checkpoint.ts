import { familyOf } from '../family.ts';
import { type Checkpoint, CheckpointError, CheckpointFile, detectFileKind } from './checkpoint.ts';
import { readSafetensors } from './safetensors.ts';
import { readTorchArchive, type TensorCollection } from './torch-archive.ts';

/**
 * Opens a checkpoint: OpenAI's TorchScript archive, a `state_dict` with the same names (also OpenCLIP's), or Hugging
 * Face's CLIPModel, each as safetensors or as PyTorch saves it. The file's content decides how it is read. The config
 * beside it decides what the weights do not. No code in the file is run. The weights stay in the file until they are
 * read. The caller disposes of the checkpoint.
 * @throws CheckpointError with a sentence for the operator: the file, and what is wrong with it
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  let file: CheckpointFile | undefined;
  try {
    file = new CheckpointFile(path);
    const opened = file;
    const stored = readTensors(opened);
    const family = familyOf(stored);
    return {
      family: family.name,
      ...family.describe(stored, opened),
      [Symbol.dispose]: () => opened[Symbol.dispose](),
    };
  } catch (error) {
    file?.[Symbol.dispose]();
    if (!(error instanceof CheckpointError)) throw error;
    throw new CheckpointError(`The checkpoint ${path} cannot be used: ${error.message}.`, { cause: error });
  }
}

function readTensors(file: CheckpointFile): TensorCollection {
  switch (detectFileKind(file)) {
    case 'zip':
      return readTorchArchive(file);
    case 'safetensors':
      return { container: 'state_dict', tensors: readSafetensors(file) };
  }
}
