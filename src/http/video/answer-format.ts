/** How an answer travels: as one JSON document, or as events of which the last one holds it. */
export type AnswerFormat = 'json' | 'ndjson' | 'sse';

const mediaTypes: ReadonlyMap<string, AnswerFormat> = new Map([
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['text/event-stream', 'sse'],
]);

/** Half of the least step that a quality can make: of equal qualities a named type wins over "anything". */
const WILDCARD_MALUS = 0.0005;

/**
 * The format that an Accept header prefers among those it names. Events are only for those who name them:
 * who accepts anything gets JSON, and so does who accepts neither.
 */
export function answerFormatOf(headers: Headers): AnswerFormat {
  let preferred: { format: AnswerFormat; quality: number } = { format: 'json', quality: 0 };
  for (const range of (headers.get('accept') ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((word) => word.trim().toLowerCase());
    const isWildcard = type === '*/*' || type === 'application/*';
    const format = isWildcard ? 'json' : mediaTypes.get(type);
    if (!format) continue;
    const quality = qualityOf(parameters) - (isWildcard ? WILDCARD_MALUS : 0);
    const isBetter = quality > preferred.quality || (quality === preferred.quality && format === 'json');
    if (isBetter) preferred = { format, quality };
  }
  return preferred.format;
}

/** RFC 9110, 12.4.2: 0 to 1, three decimals. What breaks that grammar is not asked for. */
function qualityOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => parameter.startsWith('q='));
  if (weight === undefined) return 1;
  return /^q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight.slice(2)) : 0;
}
