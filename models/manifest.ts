/** A place to download a checkpoint from. */
interface ModelSource {
  readonly url: string;
  /** Exact size of the file, in bytes. Absent: only its sum is published. */
  readonly bytes?: number;
  /** sha256 of the file, hex. */
  readonly sha256: string;
  readonly layout: 'torchscript' | 'state_dict' | 'huggingface';
  /** The file's name in the cache folder; one of the model's `fileNames`. */
  readonly fileName: string;
  /** The address is reported to answer 404: it is tried, but error sentences do not recommend it. */
  readonly reportedGone?: boolean;
}

/** A model that `CLIP_MODEL` can name. */
export interface ManifestModel {
  /** OpenAI's models: the name that the reference's `clip.load` takes. Others: the name of their repository. */
  readonly name: string;
  /** Names that other programs give it: OpenCLIP's architecture, alone or with its tag, and Hugging Face repositories. */
  readonly otherNames?: readonly string[];
  /** The weights do not decide it. Heads are 64 channels wide in all of these models. */
  readonly activation: 'quick_gelu' | 'gelu';
  /** File names to look for in each cache folder, in this order. */
  readonly fileNames: readonly string[];
  /** Download addresses, in this order. */
  readonly sources: readonly ModelSource[];
}

/** Names that any checkpoint may have. They are only looked for if ViT-B/32, the default, is wanted. */
const commonFileNames: ReadonlySet<string> = new Set(['model.pt', 'model.safetensors']);

const openaiUrl = (sha256: string, fileName: string) =>
  `https://openaipublic.azureedge.net/clip/models/${sha256}/${fileName}`;
const huggingFaceUrl = (repository: string, revision: string, path: string) =>
  `https://huggingface.co/${repository}/resolve/${revision}/${path}`;

/** A file at its address in the reference's `clip.py`. */
function openaiSource(fileName: string, bytes: number, sha256: string): ModelSource {
  return {
    url: openaiUrl(sha256, fileName),
    bytes,
    sha256,
    layout: 'torchscript',
    fileName,
    reportedGone: true,
  };
}

const B32_SAFETENSORS = '99d28a652e6ec46629ab7047a0ac82c69b1fe11e0ce672c43af65d3a9a3fc05d';

/** The models this service knows by name; the first is the default. Provenance and licences: README.md beside this file. */
export const manifest: readonly ManifestModel[] = [
  {
    name: 'ViT-B/32',
    otherNames: ['openai/clip-vit-base-patch32', 'sentence-transformers/clip-ViT-B-32', 'ViT-B-32/openai'],
    activation: 'quick_gelu',
    fileNames: ['ViT-B-32.pt', 'model.pt', 'model.safetensors'],
    sources: [
      openaiSource(
        'ViT-B-32.pt',
        353_976_522,
        '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af',
      ),
      {
        url: huggingFaceUrl(
          'openai/clip-vit-base-patch32',
          'b33cedfd0df4e43b8238760678fcc89e1a0d38b3',
          'model.safetensors',
        ),
        bytes: 605_157_884,
        sha256: B32_SAFETENSORS,
        layout: 'huggingface',
        fileName: 'model.safetensors',
      },
      {
        url: huggingFaceUrl(
          'sentence-transformers/clip-ViT-B-32',
          '327ab6726d33c0e22f920c83f2ff9e4bd38ca37f',
          '0_CLIPModel/model.safetensors',
        ),
        bytes: 605_157_884,
        sha256: B32_SAFETENSORS,
        layout: 'huggingface',
        fileName: 'model.safetensors',
      },
      {
        url: huggingFaceUrl(
          'openai/clip-vit-base-patch32',
          '3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268',
          'pytorch_model.bin',
        ),
        bytes: 605_247_071,
        sha256: 'a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f',
        layout: 'huggingface',
        fileName: 'model.pt',
      },
    ],
  },
  {
    name: 'ViT-B/16',
    otherNames: ['openai/clip-vit-base-patch16', 'ViT-B-16/openai'],
    activation: 'quick_gelu',
    fileNames: ['ViT-B-16.pt', 'ViT-B-16.safetensors', 'ViT-B-16.bin'],
    sources: [
      openaiSource(
        'ViT-B-16.pt',
        350_837_078,
        '5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f',
      ),
      {
        url: huggingFaceUrl(
          'openai/clip-vit-base-patch16',
          '57c216476eefef5ab752ec549e440a49ae4ae5f3',
          'pytorch_model.bin',
        ),
        bytes: 598_641_023,
        sha256: 'ec89c7b09c749a60aae3c9cd910516f24b58214a7df060b48962d14c469cfbf0',
        layout: 'huggingface',
        fileName: 'ViT-B-16.bin',
      },
    ],
  },
  {
    name: 'ViT-L/14',
    otherNames: ['openai/clip-vit-large-patch14', 'ViT-L-14/openai'],
    activation: 'quick_gelu',
    fileNames: ['ViT-L-14.pt', 'ViT-L-14.safetensors', 'ViT-L-14.bin'],
    sources: [
      openaiSource(
        'ViT-L-14.pt',
        932_768_134,
        'b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836',
      ),
      {
        url: huggingFaceUrl(
          'openai/clip-vit-large-patch14',
          '32bd64288804d66eefd0ccbe215aa642df71cc41',
          'model.safetensors',
        ),
        bytes: 1_710_540_580,
        sha256: 'a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb',
        layout: 'huggingface',
        fileName: 'ViT-L-14.safetensors',
      },
    ],
  },
  {
    name: 'ViT-L/14@336px',
    otherNames: ['openai/clip-vit-large-patch14-336', 'ViT-L-14-336', 'ViT-L-14-336/openai'],
    activation: 'quick_gelu',
    fileNames: ['ViT-L-14-336px.pt', 'ViT-L-14-336px.safetensors', 'ViT-L-14-336px.bin'],
    sources: [
      openaiSource(
        'ViT-L-14-336px.pt',
        934_088_680,
        '3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02',
      ),
      {
        url: huggingFaceUrl(
          'openai/clip-vit-large-patch14-336',
          'ce19dc912ca5cd21c8a653c79e251e808ccabcd1',
          'pytorch_model.bin',
        ),
        bytes: 1_711_974_081,
        sha256: 'c6032c2e0caae3dc2d4fba35535fa6307dbb49df59c7e182b1bc4b3329b81801',
        layout: 'huggingface',
        fileName: 'ViT-L-14-336px.bin',
      },
    ],
  },
  {
    name: 'laion/CLIP-ViT-B-32-laion2B-s34B-b79K',
    otherNames: ['ViT-B-32/laion2b_s34b_b79k'],
    activation: 'gelu',
    fileNames: ['CLIP-ViT-B-32-laion2B-s34B-b79K.safetensors', 'CLIP-ViT-B-32-laion2B-s34B-b79K.bin'],
    sources: [
      {
        url: huggingFaceUrl(
          'laion/CLIP-ViT-B-32-laion2B-s34B-b79K',
          '1a25a446712ba5ee05982a381eed697ef9b435cf',
          'open_clip_model.safetensors',
        ),
        bytes: 605_143_316,
        sha256: 'ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6',
        layout: 'state_dict',
        fileName: 'CLIP-ViT-B-32-laion2B-s34B-b79K.safetensors',
      },
    ],
  },
  {
    name: 'laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K',
    otherNames: ['ViT-B-32-256', 'ViT-B-32-256/datacomp_s34b_b86k'],
    activation: 'gelu',
    fileNames: [
      'CLIP-ViT-B-32-256x256-DataComp-s34B-b86K.safetensors',
      'CLIP-ViT-B-32-256x256-DataComp-s34B-b86K.bin',
    ],
    sources: [
      {
        url: huggingFaceUrl(
          'laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K',
          '4afec35ffe57a943d569ff7ee888061830164da8',
          'open_clip_model.safetensors',
        ),
        bytes: 605_189_364,
        sha256: '92c26d60d3200ed5ed040dff31a8d19f8140648da8007216c25744c478deef27',
        layout: 'state_dict',
        fileName: 'CLIP-ViT-B-32-256x256-DataComp-s34B-b86K.safetensors',
      },
    ],
  },
  {
    name: 'laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K',
    otherNames: ['ViT-B-32/datacomp_xl_s13b_b90k'],
    activation: 'gelu',
    fileNames: ['CLIP-ViT-B-32-DataComp.XL-s13B-b90K.safetensors', 'CLIP-ViT-B-32-DataComp.XL-s13B-b90K.bin'],
    sources: [
      {
        url: huggingFaceUrl(
          'laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K',
          'f0e2ffa09cbadab3db6a261ec1ec56407ce42912',
          'open_clip_model.safetensors',
        ),
        sha256: '3c00043509d2e3f35ec62bd85a643a393883dcda624d8208d034cc390c708297',
        layout: 'state_dict',
        fileName: 'CLIP-ViT-B-32-DataComp.XL-s13B-b90K.safetensors',
      },
    ],
  },
  {
    name: 'laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K',
    otherNames: ['ViT-B-16/datacomp_xl_s13b_b90k'],
    activation: 'gelu',
    fileNames: ['CLIP-ViT-B-16-DataComp.XL-s13B-b90K.safetensors', 'CLIP-ViT-B-16-DataComp.XL-s13B-b90K.bin'],
    sources: [
      {
        url: huggingFaceUrl(
          'laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K',
          'd110532e8d4ff91c574ee60a342323f28468b287',
          'open_clip_pytorch_model.bin',
        ),
        sha256: '80905176486d952914c1deb3b753b8e653ab54aa4ffb14208bc5007cf7643a16',
        layout: 'state_dict',
        fileName: 'CLIP-ViT-B-16-DataComp.XL-s13B-b90K.bin',
      },
    ],
  },
  {
    name: 'laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K',
    otherNames: ['ViT-L-14/datacomp_xl_s13b_b90k'],
    activation: 'gelu',
    fileNames: ['CLIP-ViT-L-14-DataComp.XL-s13B-b90K.safetensors', 'CLIP-ViT-L-14-DataComp.XL-s13B-b90K.bin'],
    sources: [
      {
        url: huggingFaceUrl(
          'laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K',
          '84c9828e63dc9a9351d1fe637c346d4c1c4db341',
          'open_clip_pytorch_model.bin',
        ),
        sha256: '6509f07e6fc0da68f8e1ee881bf90803f0b053d2f7ed2013cc7c3a49ac4dd3db',
        layout: 'state_dict',
        fileName: 'CLIP-ViT-L-14-DataComp.XL-s13B-b90K.bin',
      },
    ],
  },
];

/**
 * The activation of a published file, by its name in a cache folder.
 * @param layout of the file: a file of another layout is not the published one
 * @returns undefined for all other files, and for names that any checkpoint may have
 */
export function publishedActivation(
  fileName: string,
  layout: string,
): ManifestModel['activation'] | undefined {
  if (commonFileNames.has(fileName)) return undefined;
  const model = manifest.find(({ sources }) =>
    sources.some((source) => source.fileName === fileName && source.layout === layout),
  );
  return model?.activation;
}
