import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, extname, join } from 'node:path';
import type { Findings, Sitting } from '../bench.ts';
import { benchModel, compiledIn, modelEnvironment } from '../model/compiled.ts';
import {
  type ClipRecipe,
  categories,
  categoryOf,
  clipRecipes,
  describeClip,
  eventKinds,
  type PlantedEvent,
  quickRecipes,
} from '../regret/clip-recipes.ts';
import { createFrameViewer, decodeWhole, type FrameViewer } from '../regret/every-frame.ts';
import { madeClip } from '../regret/made-clip.ts';
import {
  bestAt,
  evenly,
  everySecond,
  LEAST_RANGE,
  quantile,
  regretOf,
  shownAt,
  type Truth,
  truthOf,
} from '../regret/regret.ts';
import { createSearcher, type Refusal, type Search, type Searcher } from '../regret/searched.ts';
import { number, type Table } from '../report/table.ts';
import { startFrom } from '../service/start.ts';
import { madeVideo } from '../video/made-video.ts';

const QUICK_PAIRS = 60;
const WORST = 10;
/** A reported similarity that differs more from that of the frame shown then is of another frame. */
const SAME_FRAME = 0.02;
const extensions = ['.mp4', '.m4v', '.mov', '.webm', '.mkv'];

/** A video to be searched. */
interface Case {
  readonly set: ClipRecipe['set'] | 'real videos';
  readonly title: string;
  /** Undefined: a real video. */
  readonly recipe?: ClipRecipe;
  path(): Promise<string>;
}

interface MeasuredCase extends Pick<Case, 'set' | 'title' | 'recipe'> {
  readonly seconds: number;
  /** Processor time of decoding all of it. */
  readonly decodingSeconds: number;
  /** By searcher. */
  readonly searches: Readonly<Record<string, Search | Refusal>>;
  readonly pairs: readonly Pair[];
}

/** A category of a video. */
interface Pair {
  readonly category: string;
  readonly event?: PlantedEvent;
  readonly truth: Truth;
  /** By searcher, and by the other ways to choose frames. */
  readonly chosen: Readonly<Record<string, Chosen>>;
}

interface Chosen {
  readonly regret: number;
  /** Of the winner, in seconds; undefined: it was not asked for. */
  readonly time?: number;
  /** The similarity is not that of the frame at this time. */
  readonly isOther?: boolean;
}

interface CostCase {
  readonly title: string;
  path(): Promise<string>;
}

interface MeasuredCost {
  readonly title: string;
  readonly searcher: string;
  readonly decodingSeconds: number;
  readonly search: Search | Refusal;
}

const ONE_A_SECOND = 'one a second';
const evenlyLike = (searcher: string) => `evenly, as many as ${searcher}`;

/** /video against the best of all frames, and its cost against decoding all of them. */
export async function regretPart({ options, tell }: Sitting): Promise<Findings> {
  const isNamed = ({ title }: { readonly title: string }) => title.includes(options.scenarios);
  const cases = casesOf(options.quick, options.videos).filter(isNamed);
  const costs = costCases(options.quick).filter(isNamed);
  if (cases.length + costs.length === 0)
    throw new Error('--scenarios: no clip’s description holds this text');

  await using cleanup = new AsyncDisposableStack();
  const model = await benchModel(options.model === 'random' ? 'demo' : options.model);
  const precisions = options.precision === 'best' ? (['int8', 'fp32'] as const) : [options.precision];
  const compiled = (await compiledIn(precisions[0] ?? 'fp32', model)) ?? (await compiledIn('fp32', model));
  if (!compiled) throw new Error(`The model cannot be compiled: ${model.checkpointPath}`);
  const shortest = await madeClip(oneFrame);
  const searchers: Searcher[] = [];
  const thorough: Searcher[] = [];
  for (const [index, root] of options.roots.entries()) {
    const environment = await modelEnvironment(compiled.precision, model, root);
    const { url, pid, ready } = cleanup.use(await startFrom(root, environment));
    await ready();
    const name = options.roots.length === 1 ? 'service' : `${index + 1}: ${basename(root)}`;
    const asked = { url, pid, categories };
    const usual = await createSearcher(name, shortest, asked);
    if (usual) searchers.push(usual);
    const more = await createSearcher(`${name} thorough`, shortest, { ...asked, query: 'thorough=true' });
    if (more) thorough.push(more);
  }

  const viewer = cleanup.use(await createFrameViewer(compiled));
  const measured: MeasuredCase[] = [];
  for (const [index, each] of cases.entries()) {
    tell(`${index + 1} of ${cases.length}: ${each.title}`);
    const those = each.set === 'long clips' ? [...searchers, ...thorough] : searchers;
    measured.push(await measureCase(each, viewer, those));
  }
  const measuredCosts: MeasuredCost[] = [];
  for (const each of costs) {
    tell(`cost: ${each.title}`);
    measuredCosts.push(...(await measureCost(each, searchers, options.rounds)));
  }
  const names = [...searchers, ...thorough].map(({ name }) => name);
  return {
    data: { model: model.checkpointPath, precision: compiled.precision, measured, costs: measuredCosts },
    tables: [
      regretTable(measured, names, `${basename(model.checkpointPath)}, ${compiled.precision}`),
      kindTable(measured, names),
      worstTable(measured, names),
      costTable(measuredCosts),
    ].filter(({ rows }) => rows.length > 0),
  };
}

function casesOf(quick: boolean, videos: string | undefined): Case[] {
  const recipes = quick ? quickRecipes(QUICK_PAIRS) : clipRecipes();
  const generated = recipes.map(
    (recipe): Case => ({
      set: recipe.set,
      title: describeClip(recipe),
      recipe,
      path: () => madeClip(recipe),
    }),
  );
  const files =
    videos === undefined ? [] : readdirSync(videos).filter((file) => extensions.includes(extname(file)));
  const real = files.sort().map(
    (file): Case => ({
      set: 'real videos',
      title: `real ${file}`,
      path: async () => join(videos ?? '', file),
    }),
  );
  return [...generated, ...real];
}

const oneFrame: ClipRecipe = {
  set: 'planted',
  number: 0,
  width: 320,
  height: 180,
  seconds: 0.1,
  rate: 10,
  background: 'screen',
  encoder: 'libx264',
  container: 'mp4',
  gop: 250,
  crf: 23,
  events: [],
};

/** Twelve in a minute. */
const costEvents = Array.from(
  { length: 12 },
  (_, order): PlantedEvent => ({
    kind: eventKinds[order % eventKinds.length] ?? 'flat',
    colour: order % 2 === 0 ? 'red' : 'blue',
    start: 1 + 5 * order,
    seconds: 2,
    x: 0.5,
    y: 0.5,
    size: 0.5,
  }),
);

function costCases(quick: boolean): CostCase[] {
  const clip = (title: string, recipe: Partial<ClipRecipe>): CostCase => ({
    title,
    path: () => madeClip({ ...oneFrame, rate: 25, seconds: quick ? 60 : 300, ...recipe }),
  });
  const noisy = {
    name: 'usual',
    seconds: quick ? 8 : 20,
    times: quick ? 15 : 30,
    sceneSeconds: 6,
    noise: 3,
    options: {},
  };
  return [
    { title: 'cost of 1080p30, x264’s defaults', path: () => madeVideo(noisy) },
    clip('cost of 320×180, moving, low bitrate', { background: 'moving', crf: 35 }),
    clip('cost of 160×90, moving, low bitrate', { width: 160, height: 90, background: 'moving', crf: 40 }),
    ...(['moving', 'screen'] as const).map((background) =>
      clip(`cost of 320×180, ${background}, low bitrate, one keyframe, events`, {
        background,
        crf: 35,
        gop: 'endless',
        events: costEvents,
      }),
    ),
    clip('cost of 640×360, static', { width: 640, height: 360, background: 'still' }),
  ];
}

async function measureCase(
  { set, title, recipe, path }: Case,
  viewer: FrameViewer,
  searchers: readonly Searcher[],
): Promise<MeasuredCase> {
  const file = await path();
  const frames = await viewer.look(file);
  const decodingSeconds = decodeWhole(file);
  const searches: Record<string, Search | Refusal> = {};
  for (const { name, search } of searchers) searches[name] = await search(file);

  const pairs: Pair[] = [];
  for (const category of categories) {
    const similarities = await frames.similarities(category);
    const truth = truthOf(frames.times, similarities);
    const chosen: Record<string, Chosen> = {};
    const choose = (name: string, seconds: readonly number[]) => {
      chosen[name] = { regret: regretOf(truth, bestAt(seconds, frames.times, similarities)) };
    };
    choose(ONE_A_SECOND, everySecond(frames.seconds));
    for (const [name, search] of Object.entries(searches)) {
      if ('refused' in search) continue;
      const winner = search.winners[category];
      if (!winner) throw new Error(`${title}: no answer about ${category}`);
      // A container's clock may begin a moment before or after ours: half a frame is none.
      const shown = similarities[shownAt(frames.times, winner.time + 2e-3)] ?? Number.NaN;
      chosen[name] = {
        regret: regretOf(truth, winner.similarity),
        time: winner.time,
        isOther: !frames.isSampled && Math.abs(shown - winner.similarity) > SAME_FRAME,
      };
      choose(evenlyLike(name), evenly(search.framesConsidered, frames.seconds));
    }
    const event = recipe?.events.find(({ colour }) => categoryOf(colour) === category);
    pairs.push({ category, truth, chosen, ...(event && { event }) });
  }
  return { set, title, seconds: frames.seconds, decodingSeconds, searches, pairs, ...(recipe && { recipe }) };
}

async function measureCost(
  { title, path }: CostCase,
  searchers: readonly Searcher[],
  rounds: number,
): Promise<MeasuredCost[]> {
  const file = await path();
  let decodingSeconds = Number.POSITIVE_INFINITY;
  const best = new Map<string, Search | Refusal>();
  for (let round = 0; round < rounds; round++) {
    decodingSeconds = Math.min(decodingSeconds, decodeWhole(file));
    for (const { name, search } of searchers) {
      const found = await search(file);
      const before = best.get(name);
      const isWorse =
        before &&
        !('refused' in before) &&
        !('refused' in found) &&
        found.decodingSeconds > before.decodingSeconds;
      if (!isWorse) best.set(name, found);
    }
  }
  return [...best].map(([searcher, search]) => ({ title, searcher, decodingSeconds, search }));
}

interface Group {
  readonly title: string;
  readonly cases: readonly MeasuredCase[];
  readonly holds: (pair: Pair) => boolean;
}

const hasRange = ({ truth }: Pair) => truth.best - truth.worst >= LEAST_RANGE;

const regretColumns = [
  'set',
  'frames chosen by',
  'pairs',
  'median',
  '75 %',
  '90 %',
  'maximum',
  'frames considered',
  'winner’s cost',
];

function regretRow({ title, cases, holds }: Group, way: string): string[] {
  const chosen = cases.flatMap(({ pairs }) =>
    pairs.filter((pair) => hasRange(pair) && holds(pair)).flatMap((pair) => pair.chosen[way] ?? []),
  );
  const regrets = chosen.map(({ regret }) => regret);
  const share = (value: number) => (Number.isNaN(value) ? '–' : value.toFixed(3));
  const searched = cases.flatMap(({ searches, decodingSeconds }) => {
    const search = searches[way];
    return search && !('refused' in search) ? { search, decodingSeconds } : [];
  });
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const considered =
    way === ONE_A_SECOND
      ? cases.map(({ seconds }) => everySecond(seconds).length)
      : searched.map(({ search }) => search.framesConsidered);
  const cost =
    sum(searched.map(({ search }) => search.decodingSeconds)) /
    sum(searched.map(({ decodingSeconds }) => decodingSeconds));
  return [
    title,
    way,
    String(regrets.length),
    ...[0.5, 0.75, 0.9, 1].map((part) => share(quantile(regrets, part))),
    number(sum(considered) / considered.length),
    number(cost),
  ];
}

function regretTable(measured: readonly MeasuredCase[], names: readonly string[], model: string): Table {
  const of = (set: Case['set']) => measured.filter((each) => each.set === set);
  const isPlanted = ({ event }: Pair) => event !== undefined;
  const groups: Group[] = [
    { title: 'planted events', cases: of('planted'), holds: isPlanted },
    { title: 'other categories of them', cases: of('planted'), holds: (pair) => !isPlanted(pair) },
    { title: 'short events', cases: of('short events'), holds: isPlanted },
    { title: 'long clips', cases: of('long clips'), holds: isPlanted },
    { title: 'real videos', cases: of('real videos'), holds: () => true },
  ];
  const ways = [...names, ONE_A_SECOND, ...names.map(evenlyLike)];
  const rows = groups
    .flatMap((group) => ways.map((way) => regretRow(group, way)))
    .filter(([, , pairs]) => pairs !== '0');
  return {
    title: `From the best of all frames to the winner, ${model}`,
    columns: regretColumns,
    rows,
    note: noteOf(measured),
  };
}

function noteOf(measured: readonly MeasuredCase[]): string {
  const pairs = measured.flatMap((each) => each.pairs);
  const planted = pairs.filter(({ event }) => event);
  const within = planted.filter(
    ({ event, truth }) =>
      event && truth.bestTime >= event.start - 0.3 && truth.bestTime <= event.start + event.seconds + 0.3,
  );
  const others = pairs.flatMap(({ chosen }) => Object.values(chosen)).filter(({ isOther }) => isOther).length;
  const refusals = measured.flatMap(({ title, searches }) =>
    Object.values(searches).flatMap((search) => ('refused' in search ? `${title}: ${search.refused}` : [])),
  );
  return [
    'Share of the range between best and worst frame that the winner’s similarity, as the service reports it, falls short of the best.',
    `Left out: ${pairs.filter((pair) => !hasRange(pair)).length} of ${pairs.length} pairs, because their range is less than ${LEAST_RANGE}; of planted ones ${planted.filter((pair) => !hasRange(pair)).length} of ${planted.length}.`,
    `The best frame is in the planted event for ${within.length} of ${planted.length} pairs.`,
    `The winner’s cost is the processor time of the process that decodes, as a multiple of a full decode with ${availableParallelism()} threads, without the start of the process.`,
    `Winners whose similarity is not that of the frame at their time: ${others}.`,
    `Refused: ${refusals.length === 0 ? 'none' : refusals.join('; ')}.`,
  ].join(' ');
}

/** The planted events by what they are and what they are in, of the services only. */
function kindTable(measured: readonly MeasuredCase[], names: readonly string[]): Table {
  const planted = measured.filter(({ set }) => set === 'planted');
  const byClip = (value: (recipe: ClipRecipe) => string): Group[] =>
    [...Map.groupBy(planted, ({ recipe }) => (recipe ? value(recipe) : ''))]
      .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
      .map(([title, cases]) => ({ title, cases, holds: ({ event }) => event !== undefined }));
  const byEvent = (title: string, holds: (event: PlantedEvent) => boolean): Group => ({
    title,
    cases: planted,
    holds: ({ event }) => event !== undefined && holds(event),
  });
  const groups: Group[] = [
    ...eventKinds.map((kind) => byEvent(kind, (event) => event.kind === kind)),
    byEvent('events below 1 s', ({ seconds }) => seconds < 1),
    byEvent('events of 1 to 3 s', ({ seconds }) => seconds >= 1 && seconds < 3),
    byEvent('events of 3 s and more', ({ seconds }) => seconds >= 3),
    ...byClip(({ background }) => `on ${background}`),
    ...byClip(({ encoder, container }) => `${encoder} in ${container}`),
    ...byClip(({ gop }) => `GOP ${gop}`),
    ...byClip(({ rate }) => (rate === 'variable' ? 'variable frame rate' : 'constant frame rate')),
    ...byClip(({ width, height }) => `${width}×${height}`),
    ...byClip(({ seconds }) => (seconds < 20 ? 'up to 20 s' : seconds < 60 ? '20 to 60 s' : '60 s and more')),
  ];
  const rows = groups
    .flatMap((group) => names.map((name) => regretRow(group, name)))
    .filter(([, , pairs]) => pairs !== '0');
  return { title: 'Planted events, by kind', columns: regretColumns, rows };
}

function worstTable(measured: readonly MeasuredCase[], names: readonly string[]): Table {
  const all = measured
    .filter(({ set }) => set !== 'short events')
    .flatMap(({ set, title, pairs }) =>
      pairs
        .filter((pair) => hasRange(pair) && (pair.event || set === 'real videos'))
        .map((pair) => ({ title, pair })),
    );
  const seconds = (value: number | undefined) => value?.toFixed(2) ?? '–';
  const rows = names.flatMap((name) =>
    all
      .flatMap(({ title, pair }) => {
        const chosen = pair.chosen[name];
        return chosen ? { title, pair, chosen } : [];
      })
      .sort((a, b) => b.chosen.regret - a.chosen.regret)
      .slice(0, WORST)
      .map(({ title, pair: { category, event, truth }, chosen }) => [
        title,
        name,
        category,
        event?.kind ?? '–',
        event ? `${seconds(event.start)}–${seconds(event.start + event.seconds)}` : '–',
        seconds(chosen.time),
        seconds(truth.bestTime),
        number(truth.best - truth.worst),
        chosen.regret.toFixed(3),
      ]),
  );
  return {
    title: `The ${WORST} worst pairs`,
    columns: ['clip', 'of', 'category', 'event', 'its time', 'chosen', 'best', 'range', 'regret'],
    rows,
  };
}

function costTable(costs: readonly MeasuredCost[]): Table {
  return {
    title: 'Processor time, against decoding all of the video',
    columns: [
      'video',
      'of',
      'full decode s',
      'search s',
      'share of decode',
      'service and model s',
      'answer s',
      'frames considered',
      'scenes',
    ],
    rows: costs.map(({ title, searcher, decodingSeconds, search }) => {
      const head = [title.replace('cost of ', ''), searcher, number(decodingSeconds)];
      if ('refused' in search) return [...head, search.refused];
      return [
        ...head,
        number(search.decodingSeconds),
        number(search.decodingSeconds / decodingSeconds),
        number(search.serviceSeconds),
        number(search.answerSeconds),
        String(search.framesConsidered),
        String(search.scenes),
      ];
    }),
    note: 'Search: of the process that decodes, with the time that it compares frames, without its start. Service and model: of all the rest, without what a video of one frame costs. The best of the rounds; answer s is elapsed time.',
  };
}
