import { totalmem } from 'node:os';

const MEBI = 1024 ** 2;
const GIBI = 1024 ** 3;

/** What the budgets depend on. */
export interface Machine {
  /** Memory that this process and its children may fill. */
  readonly limitBytes: number;
  /** Cores that may be used. */
  readonly threads: number;
  /** MAX_FILES. */
  readonly files: number;
  /** Whether ONNX Runtime keeps weights in int8 as 16 bits, as it does on x86 without VNNI or AMX. Default: no. */
  readonly wideWeights?: boolean;
}

/** Users are asked for 2 GiB. More memory does not make request budgets larger; only videos use it. */
const PROMISED_BYTES = 2 * GIBI;

/** ViT-B/32 in int8 with the runtime, the arena with its 16 picture slots, the label cache and a small load: 0.3 GB. */
const MODEL_BYTES = 290 * MEBI;
/** Both towers' weights have 180 MB in the file. Where they are wide, they take 60 to 75 MiB more in memory. */
const WIDE_WEIGHTS_BYTES = 80 * MEBI;

/** One decoder needs some 400 MB for 4K, and 690 MB for 8K in H.264 with five references. Hostile files fill any amount. */
export const VIDEO_PROCESS_BYTES = 900 * MEBI;
/** 8K in HEVC with 10 bits needs 0.9 to 1.2 GB: up to nine frames of 107 MB, and a JPEG of one. */
const LARGE_VIDEO_PROCESS_BYTES = 1400 * MEBI;

/** A decoder needs this much for a small video, its runtime included. */
const MIN_VIDEO_PROCESS_BYTES = 100 * MEBI;

/** A picture process may keep this much between two pictures, with its runtime. */
const PICTURE_PROCESS_BYTES = 512 * MEBI;

/** Enough for a copy of ViT-B/32 in int8 for each of eight cores with VNNI, or for each of five without. */
const MAX_TOWER_COPIES_BYTES = GIBI;
/** A copy of ViT-B/32 in int8. Fewer than two are of no use. */
const TOWER_COPY_BYTES = { narrow: 128 * MEBI, wide: 176 * MEBI };

/** The embedding of a picture and the objects around it. */
const EMBEDDED_PICTURE_BYTES = 3 * 1024;

/** The memory that budgets are shares of. */
const shared = ({ limitBytes }: Machine): number => Math.min(limitBytes, PROMISED_BYTES);

const modelBytes = ({ wideWeights = false }: Machine): number =>
  MODEL_BYTES + (wideWeights ? WIDE_WEIGHTS_BYTES : 0);

const maxDecodeBytes = (machine: Machine): number => shared(machine) * 0.4;

const requestBytes = (machine: Machine): number => shared(machine) / 5;

/** What the model and requests leave. */
const leftForVideos = (machine: Machine): number =>
  machine.limitBytes - modelBytes(machine) - requestBytes(machine);

/** Enough for the largest videos, where two of them fit. */
const videoProcessBytes = (machine: Machine): number => {
  const left = leftForVideos(machine);
  const wanted = Math.min(LARGE_VIDEO_PROCESS_BYTES, Math.max(VIDEO_PROCESS_BYTES, left / 2));
  return Math.min(wanted, Math.max(MIN_VIDEO_PROCESS_BYTES, left));
};

const videosAtOnce = (machine: Machine): number => {
  const room = Math.min(machine.threads / 2, leftForVideos(machine) / VIDEO_PROCESS_BYTES);
  return Math.min(2, Math.max(1, Math.floor(room)));
};

const videoBytes = (machine: Machine): number => videosAtOnce(machine) * videoProcessBytes(machine);

/** What the model, requests and videos leave. */
const leftForCopies = (machine: Machine): number => Math.max(0, leftForVideos(machine) - videoBytes(machine));

/** One for each core, of what is left; more for larger models only where the largest picture has enough as well. */
const towerCopiesBytes = (machine: Machine): number => {
  const copy = machine.wideWeights ? TOWER_COPY_BYTES.wide : TOWER_COPY_BYTES.narrow;
  const left = leftForCopies(machine);
  if (machine.threads < 2 || left < 2 * copy) return 0;
  const wanted = machine.threads * copy;
  return Math.min(MAX_TOWER_COPIES_BYTES, left, Math.max(wanted, left - maxDecodeBytes(machine)));
};

const largePictureBytes = (machine: Machine): number =>
  Math.min(maxDecodeBytes(machine), leftForCopies(machine) - towerCopiesBytes(machine));

const pictureProcesses = (machine: Machine): number =>
  Math.max(1, Math.min(machine.threads, Math.floor(shared(machine) / PICTURE_PROCESS_BYTES)));

interface Row {
  readonly of: (machine: Machine) => number;
  /** One line for a person. */
  readonly why: string;
}

/**
 * Every budget, by its name in the plan. Names that end in `Bytes` are bytes, the others are counts.
 * The first four are the sum that must fit. The others are ceilings: each one bounds one kind of load. Loads differ, so
 * the ceilings overlap: together they exceed the sum. See docs/memory.md.
 */
export const memoryRows = {
  modelBytes: {
    of: modelBytes,
    why: 'the model (ViT-B/32 in int8), the runtime and the caches; int8 needs 80 MiB more on x86 without VNNI or AMX, fp32 300 MiB more',
  },
  requestBytes: {
    of: requestBytes,
    why: 'what requests hold under a heavy load, decoding included; four clients with large photos held 300 MB',
  },
  towerCopiesBytes: {
    of: towerCopiesBytes,
    why: 'copies of the vision tower, which make a queue of pictures faster; only what the other three leave',
  },
  videoBytes: {
    of: videoBytes,
    why: 'the decoders of all open videos together',
  },
  videoProcessBytes: {
    of: videoProcessBytes,
    why: 'one decoder of a video; 4K needs some 400 MB, 8K in HEVC with 10 bits some 1,000 MB',
  },
  videosAtOnce: {
    of: videosAtOnce,
    why: 'videos that are decoded at the same time; each uses two cores; more than two videos would only wait for the disk',
  },
  pictureUploads: {
    of: (machine) => Math.floor(shared(machine) / (4 * MEBI)),
    why: 'incomplete requests to /categorize and /image; the HTTP server reads up to 1.3 MB ahead of each',
  },
  videoUploads: {
    of: (machine) => Math.floor(shared(machine) / (16 * MEBI)),
    why: 'incomplete requests to /video',
  },
  partBytes: {
    of: (machine) => shared(machine) / 8,
    why: 'pictures that are incomplete or wait for their turn; the rest goes to the temporary folder',
  },
  keptBytes: {
    of: (machine) => Math.max(shared(machine) / 16, machine.files * EMBEDDED_PICTURE_BYTES),
    why: 'names, categories, embeddings, rankings and thumbnails; at least one request of MAX_FILES pictures',
  },
  labelBytes: {
    of: (machine) => shared(machine) / 32,
    why: 'embeddings of long category lists',
  },
  answerBytes: {
    of: (machine) => shared(machine) / 16,
    why: 'JSON answers over 1 MiB until their clients have taken them; one has 32 MiB at most',
  },
  temporaryMemoryBytes: {
    of: (machine) => shared(machine) / 4,
    why: 'uploads in the temporary folder, if that folder is in memory (tmpfs)',
  },
  undecodedBytes: {
    of: (machine) => shared(machine) / 16,
    why: 'complete pictures between the form and the decoder',
  },
  tiledBytes: {
    of: (machine) => shared(machine) / 64,
    why: 'decoded pictures whose squares wait for the encoder (`fit=tiles`); each counts as the longest, 2.3 MiB for ViT-B/32',
  },
  decodeBytes: {
    of: (machine) => shared(machine) / 5,
    why: 'pictures being decoded, once for this process and once for the picture processes',
  },
  maxDecodeBytes: {
    of: maxDecodeBytes,
    why: 'one picture; a pixel takes some 4 bytes (most formats), 8 (TIFF) or 16 to 32 (AVIF). One over the row above is decoded alone',
  },
  usualPictureBytes: {
    of: (machine) => shared(machine) / 20,
    why: 'a picture that is decoded within `requestBytes`; a larger one takes its memory from the row below, and from `videoBytes`',
  },
  largePictureBytes: {
    of: largePictureBytes,
    why: 'for larger pictures, before they take memory from videos: what is left beside the sum',
  },
  pictureProcesses: {
    of: pictureProcesses,
    why: 'processes that decode TIFF, AVIF, HEIC and rare variants: one for each core, one for each 512 MiB',
  },
  isolatedAtOnce: {
    of: (machine) => 2 * pictureProcesses(machine),
    why: 'places of the encoder that such pictures may occupy, of 16',
  },
  garbageBytes: {
    of: () => 48 * MEBI,
    why: 'decoded uploads after which garbage is collected: about once a second at full speed',
  },
} as const satisfies Record<string, Row>;

/** Every budget of the service; see `memoryRows`. */
export type MemoryPlan = Readonly<Record<keyof typeof memoryRows, number>>;

/** Computes every budget from the memory limit. */
export function planMemory(machine: Machine): MemoryPlan {
  const entries = Object.entries(memoryRows).map(([name, row]) => [name, row.of(machine)] as const);
  return Object.freeze(Object.fromEntries(entries)) as MemoryPlan;
}

/** What the service holds at once: the model with its copies, requests and videos. */
export function sumOf({ modelBytes, towerCopiesBytes, requestBytes, videoBytes }: MemoryPlan): number {
  return modelBytes + towerCopiesBytes + requestBytes + videoBytes;
}

/**
 * Explains why the plan does not fit into the memory limit.
 * @returns a sentence; undefined if it fits
 */
export function memoryShortage(plan: MemoryPlan, limitBytes: number): string | undefined {
  const needed = Math.max(sumOf(plan), plan.modelBytes + plan.keptBytes);
  if (needed <= limitBytes) return undefined;
  const mebibytes = (bytes: number) => `${Math.ceil(bytes / MEBI)} MiB`;
  const cure = needed === sumOf(plan) ? '' : ' or a smaller MAX_FILES';
  return `The memory limit of ${mebibytes(limitBytes)} is too small: the service may need ${mebibytes(needed)} and may be ended by the system. Set a larger limit (2 GiB is recommended)${cure}.`;
}

/**
 * The memory that this process may fill: what the control group grants, at most what the machine has.
 * @param grantedBytes 0, or larger than any memory, if there is no limit
 */
export function memoryLimitBytes(
  grantedBytes: number = process.constrainedMemory(),
  machineBytes: number = totalmem(),
): number {
  return grantedBytes > 0 ? Math.min(grantedBytes, machineBytes) : machineBytes;
}
