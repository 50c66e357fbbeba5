import type { CheckpointLayout } from '../src/clip/checkpoint/checkpoint.ts';

/** One place a checkpoint can be downloaded from. */
export interface ModelSource {
  readonly url: string;
  /** Exact size of the file, in bytes. */
  readonly bytes: number;
  /** sha256 of the file, hex. */
  readonly sha256: string;
  readonly layout: CheckpointLayout;
  /** Name the file gets in the cache folder; one of the model's `fileNames`. */
  readonly fileName: string;
  /** Reported to answer 404: still tried, but not what a person is told to download. */
  readonly reportedGone?: boolean;
}

/** A model that can be asked for by name. */
export interface ManifestModel {
  /** The name the reference's `clip.load` takes. */
  readonly name: string;
  /** File names that are looked for in each cache folder, in this order. */
  readonly fileNames: readonly string[];
  /** Where it is downloaded from, in this order. */
  readonly sources: readonly ModelSource[];
}

const OPENAI_FILE = '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af';
const SAFETENSORS_FILE = '99d28a652e6ec46629ab7047a0ac82c69b1fe11e0ce672c43af65d3a9a3fc05d';
const PYTORCH_BIN_FILE = 'a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f';

/** The models this service knows by name. Provenance and licence: README.md beside this file. */
export const manifest: readonly ManifestModel[] = [
  {
    name: 'ViT-B/32',
    fileNames: ['ViT-B-32.pt', 'model.pt', 'model.safetensors'],
    sources: [
      {
        url: `https://openaipublic.azureedge.net/clip/models/${OPENAI_FILE}/ViT-B-32.pt`,
        bytes: 353_976_522,
        sha256: OPENAI_FILE,
        layout: 'torchscript',
        fileName: 'ViT-B-32.pt',
        reportedGone: true,
      },
      {
        url: 'https://huggingface.co/openai/clip-vit-base-patch32/resolve/b33cedfd0df4e43b8238760678fcc89e1a0d38b3/model.safetensors',
        bytes: 605_157_884,
        sha256: SAFETENSORS_FILE,
        layout: 'huggingface',
        fileName: 'model.safetensors',
      },
      {
        url: 'https://huggingface.co/sentence-transformers/clip-ViT-B-32/resolve/327ab6726d33c0e22f920c83f2ff9e4bd38ca37f/0_CLIPModel/model.safetensors',
        bytes: 605_157_884,
        sha256: SAFETENSORS_FILE,
        layout: 'huggingface',
        fileName: 'model.safetensors',
      },
      {
        url: 'https://huggingface.co/openai/clip-vit-base-patch32/resolve/3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268/pytorch_model.bin',
        bytes: 605_247_071,
        sha256: PYTORCH_BIN_FILE,
        layout: 'huggingface',
        fileName: 'model.pt',
      },
    ],
  },
];
