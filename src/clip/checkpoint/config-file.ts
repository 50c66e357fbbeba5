import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { CheckpointError } from './checkpoint-error.ts';

const MAX_CONFIG_BYTES = 1024 ** 2;

/**
 * Reads a JSON document out of a checkpoint's folder.
 * @param kind of model the document should describe, for an error's sentence
 * @returns undefined where there is none
 * @throws CheckpointError where it cannot be read, or describes something else
 */
export function readConfigBeside<Schema extends v.GenericSchema>(
  checkpointPath: string,
  fileName: string,
  kind: string,
  schema: Schema,
): v.InferOutput<Schema> | undefined {
  const text = readText(join(dirname(checkpointPath), fileName), fileName);
  if (text === undefined) return undefined;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(`the ${fileName} beside it is not one of ${kind} (it is not JSON)`, {
      cause: error,
    });
  }
  const parsed = v.safeParse(schema, document);
  if (parsed.success) return parsed.output;
  const faults = parsed.issues.map((issue) => `${v.getDotPath(issue) ?? 'the document'}: ${issue.message}`);
  throw new CheckpointError(`the ${fileName} beside it is not one of ${kind} (${faults.join('; ')})`);
}

function readText(path: string, fileName: string): string | undefined {
  try {
    const size = statSync(path).size;
    if (size > MAX_CONFIG_BYTES) throw new CheckpointError(`the ${fileName} beside it has ${size} bytes`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new CheckpointError(`the ${fileName} beside it cannot be read (${String(error)})`, {
      cause: error,
    });
  }
}
