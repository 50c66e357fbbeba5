/**
 * Keeps the names of one request apart: a second picture of the same name becomes `name (2)`, so that
 * both have a place in an answer that is keyed by name.
 */
export function createFileNames(): (name: string) => string {
  const taken = new Set<string>();
  const copies = new Map<string, number>();
  return (name) => {
    let unique = name;
    for (let copy = copies.get(name) ?? 1; taken.has(unique); unique = `${name} (${copy})`) {
      copy += 1;
      copies.set(name, copy);
    }
    taken.add(unique);
    return unique;
  };
}
