import { join } from 'node:path';

export const repository = join(import.meta.dir, '../..');

/** All pages of the documentation, from the repository's root. */
export const pagePaths = ['*.md', '{docs,deploy,models,src,native,test}/**/*.md'].flatMap((pattern) => [
  ...new Bun.Glob(pattern).scanSync(repository),
]);

/** The text of a page of the documentation. */
export const page = (path: string): Promise<string> => Bun.file(join(repository, path)).text();

export interface CodeBlock {
  readonly language: string;
  readonly code: string;
  /** The line of its first fence, from 1. */
  readonly line: number;
}

/** All fenced blocks, in order. */
export function codeBlocks(markdown: string): readonly CodeBlock[] {
  return [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
    ({ 1: language = '', 2: code = '', index }) => ({
      language,
      code,
      line: markdown.slice(0, index).split('\n').length,
    }),
  );
}

/** The text below a heading, up to the next heading of any level. */
export function section(markdown: string, heading: string): string {
  const lines = withoutCode(markdown).split('\n');
  const start = lines.findIndex((line) => line.replace(/^#+ /, '') === heading && line.startsWith('#'));
  if (start < 0) throw new Error(`there is no heading "${heading}"`);
  const length = lines.slice(start + 1).findIndex((line) => line.startsWith('#'));
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).join('\n');
}

/** The trimmed cells of each row below a table's head; none without a table. */
export function tableRows(markdown: string): readonly (readonly string[])[] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

/** The texts between backticks. */
export const codeIn = (text: string): readonly string[] =>
  [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);

/** Empties the lines of code blocks, so that a comment in them is not taken for a heading. */
export function withoutCode(markdown: string): string {
  return markdown.replace(/^```.*?^```$/gms, (block) => block.replace(/.+/g, ''));
}
