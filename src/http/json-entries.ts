/**
 * The text of a JSON object with its keys in the given order, in pieces. A JavaScript object would move keys such
 * as "10" to the front and swallow "__proto__", and both are sound file names and labels.
 * @param entries distinct keys, each with a JSON value
 */
export function* jsonObject(entries: Iterable<readonly [string, unknown]>): Generator<string> {
  let before = '{';
  for (const [key, value] of entries) {
    yield `${before}${JSON.stringify(key)}:${JSON.stringify(value)}`;
    before = ',';
  }
  yield before === '{' ? '{}' : '}';
}

/** The items of a JSON array, each as it is written, with what stands between them. */
export function* jsonItems(items: Iterable<object>): Generator<string> {
  let before = '';
  for (const item of items) {
    yield before + JSON.stringify(item);
    before = ',';
  }
}
