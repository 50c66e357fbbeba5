import { encodeValues, type MadeTensors } from './checkpoint-maker.ts';
import { littleEndian } from './pickle-writer.ts';

export interface SafetensorsEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly number[];
}

const dtypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16', int64: 'I64' } as const;

/** A safetensors file of these tensors. */
export function safetensors(tensors: MadeTensors): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  const chunks: Uint8Array[] = [];
  let position = 0;
  for (const [name, { shape, values, type = 'float32' }] of tensors) {
    const bytes = encodeValues(values, type);
    const dtype = dtypes[type as keyof typeof dtypes];
    header[name] = { dtype, shape, data_offsets: [position, position + bytes.length] };
    chunks.push(bytes);
    position += bytes.length;
  }
  return safetensorsOf(JSON.stringify(header), Buffer.concat(chunks));
}

/** A safetensors file of a header as it is. */
export function safetensorsOf(header: string, data: Uint8Array): Uint8Array {
  const bytes = new TextEncoder().encode(header);
  return Buffer.concat([Uint8Array.from(littleEndian(bytes.length, 8)), bytes, data]);
}
