/**
 * The text of a JSON object with its keys in the given order. A JavaScript object would move keys such
 * as "10" to the front and swallow "__proto__", and both are sound file names and labels.
 * @param entries distinct keys, each with a JSON value
 */
export function jsonObject(entries: Iterable<readonly [string, unknown]>): string {
  const members: string[] = [];
  for (const [key, value] of entries) members.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
  return `{${members.join(',')}}`;
}
