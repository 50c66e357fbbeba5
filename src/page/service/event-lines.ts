/**
 * Reads lines out of a text that grows: `read(all so far)` gives the lines that have become complete.
 */
export function createLineReader(): (text: string) => string[] {
  let read = 0;
  return (text) => {
    const lines: string[] = [];
    for (let end = text.indexOf('\n', read); end !== -1; end = text.indexOf('\n', read)) {
      if (end > read) lines.push(text.slice(read, end));
      read = end + 1;
    }
    return lines;
  };
}
