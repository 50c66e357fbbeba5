/** One time series' value in an exposition. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric with all its series. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: readonly Sample[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const helpLine = new RegExp(`^# HELP (${NAME}) (.*)$`);
const typeLine = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`);
const sampleLine = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const labelPattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y;

/**
 * Reads Prometheus' text format, version 0.0.4, as strictly as Prometheus does.
 * @throws for an invalid line, or for a metric or series that occurs twice
 */
export function parseExposition(text: string): readonly Family[] {
  if (!text.endsWith('\n')) throw new Error('the last line is not ended');
  const families: (Family & { samples: Sample[] })[] = [];
  const series = new Set<string>();
  let help: readonly [name: string, text: string] | undefined;
  for (const line of text.split('\n').filter((line) => line !== '')) {
    const [, helped, sentence = ''] = helpLine.exec(line) ?? [];
    if (helped !== undefined) {
      help = [helped, unescaped(sentence)];
      continue;
    }
    const [, typed, type = ''] = typeLine.exec(line) ?? [];
    if (typed !== undefined) {
      if (help?.[0] !== typed) throw new Error(`without a help: ${line}`);
      if (families.some(({ name }) => name === typed)) throw new Error(`comes twice: ${typed}`);
      families.push({ name: typed, help: help[1], type, samples: [] });
      continue;
    }
    const [, name, labels = '', value = ''] = sampleLine.exec(line) ?? [];
    const family = families.at(-1);
    if (name === undefined || !family || !belongsTo(name, family)) throw new Error(`no sample: ${line}`);
    const id = line.slice(0, line.lastIndexOf(' '));
    if (series.has(id)) throw new Error(`comes twice: ${id}`);
    series.add(id);
    family.samples.push({ name, labels: parseLabels(labels), value: parseValue(value) });
  }
  return families;
}

function belongsTo(name: string, family: Family): boolean {
  const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
  return suffixes.some((suffix) => name === `${family.name}${suffix}`);
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  labelPattern.lastIndex = 0;
  while (labelPattern.lastIndex < text.length) {
    const [, name, value = ''] = labelPattern.exec(text) ?? [];
    if (name === undefined || name in labels) throw new Error(`no labels: ${text}`);
    labels[name] = unescaped(value);
  }
  return labels;
}

function parseValue(text: string): number {
  const special: Readonly<Record<string, number>> = { '+Inf': Infinity, '-Inf': -Infinity, NaN };
  const value = special[text] ?? (/^[-+]?[\d.]+(?:e[-+]?\d+)?$/i.test(text) ? Number(text) : undefined);
  if (value === undefined || (Number.isNaN(value) && text !== 'NaN')) throw new Error(`no value: ${text}`);
  return value;
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
}
