import { parseCategories } from '../classify/categories.ts';
import type { Categories } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import { reasonOf } from './files/errno.ts';
import { UsageError } from './usage-error.ts';

/**
 * The categories of a file, then those given one by one.
 * @throws UsageError
 */
export async function readCategories(
  { file, words }: { readonly file: string | undefined; readonly words: readonly string[] },
  maxCategories: number,
): Promise<Categories> {
  const listed = file === undefined ? [] : await readListed(file);
  return parse(JSON.stringify([...listed, ...words]), maxCategories, '');
}

async function readListed(file: string): Promise<readonly string[]> {
  const document = await Bun.file(file)
    .bytes()
    .catch((fault: unknown) => {
      throw new UsageError(`The categories ${file} cannot be read, because ${reasonOf(fault)}.`);
    });
  return parse(document, Number.POSITIVE_INFINITY, `${file}: `).labels;
}

function parse(document: string | Uint8Array, maxCategories: number, where: string): Categories {
  try {
    return parseCategories(
      typeof document === 'string' ? new TextEncoder().encode(document) : document,
      maxCategories,
    );
  } catch (fault) {
    if (fault instanceof ServiceError) throw new UsageError(`${where}${fault.message}`);
    throw fault;
  }
}
