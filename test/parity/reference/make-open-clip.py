"""Writes random-weight CLIP checkpoints as OpenCLIP and transformers write them, with those libraries' answers.

Provenance of test/golden/open-clip; no test runs it. In a virtual environment:

    pip install torch torchvision numpy safetensors open_clip_torch==3.3.0 transformers==5.23.0
    python make-open-clip.py --out ../../golden/open-clip
    python make-open-clip.py --out FOLDER --model ViT-L-14-336 --quick-gelu

Each variant becomes a folder with
    the weights, gzipped    written by the library itself (OpenCLIP: as its push_to_hf_hub.py does), few of its
                            values apart so that they compress: what is computed with them is no simpler for it
    the library's config    open_clip_config.json or config.json
    answers.json            pixels [N, S, S, 3] u8 and input ids [N, L] that were put in, and what came out:
                            L2-normalised fp32 embeddings [N, D], exp(logit_scale)
With --model, one of OpenCLIP's own architectures at full size goes to OUT instead, not gzipped.
"""

import argparse
import base64
import gzip
import json
import math
import pathlib
import shutil
import tempfile

import numpy
import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

OPENAI_PIXELS = dict(mean=OPENAI_DATASET_MEAN, std=OPENAI_DATASET_STD)

# Small, with all sizes different, and heads that shapes do not tell: 64 channels a head would make other numbers of
# them. The first has heads as wide as ViT-H/14's.
OPEN_CLIP_VARIANTS = {
    "open-clip-gelu": dict(
        embed_dim=48,
        vision_cfg=dict(image_size=24, layers=2, width=160, head_width=80, patch_size=8),
        text_cfg=dict(context_length=16, vocab_size=64, width=64, heads=4, layers=2),
    ),
    "open-clip-custom-text": dict(
        embed_dim=40,
        quick_gelu=True,
        custom_text=True,
        vision_cfg=dict(image_size=20, layers=2, width=64, head_width=16, patch_size=4),
        text_cfg=dict(context_length=12, vocab_size=80, width=48, heads=3, layers=3),
    ),
    "open-clip-other-pixels": dict(
        embed_dim=24,
        preprocess=dict(mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2)),
        vision_cfg=dict(image_size=21, layers=2, width=80, head_width=40, patch_size=7),
        text_cfg=dict(context_length=11, vocab_size=50, width=32, heads=2, layers=2),
    ),
}
TRANSFORMERS_VARIANTS = {
    "transformers-gelu": dict(
        projection_dim=56,
        vision_config=dict(image_size=18, patch_size=6, hidden_size=72, num_attention_heads=3, num_hidden_layers=2),
        text_config=dict(
            max_position_embeddings=14, vocab_size=70, hidden_size=48, num_attention_heads=2, num_hidden_layers=3
        ),
        activation="gelu",
    ),
    "transformers-quick-gelu": dict(
        projection_dim=32,
        vision_config=dict(image_size=32, patch_size=16, hidden_size=64, num_attention_heads=2, num_hidden_layers=2),
        text_config=dict(
            max_position_embeddings=10, vocab_size=60, hidden_size=56, num_attention_heads=4, num_hidden_layers=2
        ),
        activation="quick_gelu",
    ),
}
SEEDS = {
    "open-clip-gelu": 0,
    "open-clip-custom-text": 1,
    "transformers-gelu": 2,
    "transformers-quick-gelu": 3,
    "open-clip-other-pixels": 4,
}
PICTURES = 3
TEXT_LENGTHS = (3, 7, 10)
LEVELS_A_DEVIATION = 4


@torch.no_grad()
def randomise(model):
    """Moves weights off the ones and zeros that would hide a swapped one, and far enough for GELU to matter."""
    for name, parameter in model.named_parameters():
        is_norm = any(part in name for part in (".ln_", "ln_final", "norm", "layrnorm"))
        if "logit_scale" in name:
            parameter.fill_(math.log(60.0))
        elif is_norm and name.endswith("weight"):
            parameter.normal_(1.0, 0.1)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.2)
        elif parameter.dim() >= 2 and "embedding" not in name:
            parameter.normal_(0.0, 1.2 / math.sqrt(parameter[0].numel()))
        else:
            parameter.normal_(0.0, 0.5)
        if "logit_scale" not in name:
            step = 2.0 ** math.floor(math.log2(parameter.std().item() / LEVELS_A_DEVIATION))
            parameter.copy_((parameter / step).round() * step)
    return model.eval()


def pixels(side):
    return numpy.random.default_rng(side).integers(0, 256, (PICTURES, side, side, 3), dtype=numpy.uint8)


def normalised(values, mean, std):
    mean, std = (torch.tensor(channels, dtype=torch.float64) for channels in (mean, std))
    scaled = (torch.from_numpy(values).double() / 255 - mean) / std
    return scaled.permute(0, 3, 1, 2).float()


def texts(vocabulary, context):
    """Start, words, end; the end token has the largest id, as in CLIP's vocabulary."""
    random = numpy.random.default_rng(vocabulary)
    words = [random.integers(0, vocabulary - 2, min(length, context) - 2).tolist() for length in TEXT_LENGTHS]
    return [[vocabulary - 2, *ids, vocabulary - 1] for ids in words]


def padded(ids, context):
    return torch.tensor([row + [0] * (context - len(row)) for row in ids])


def unit(features):
    rows = features.double()
    rows = rows / rows.norm(dim=-1, keepdim=True)
    return [[float(f"{value:.9g}") for value in row] for row in rows.tolist()]


@torch.no_grad()
def answers(shown, ids, encode_image, encode_text, logit_scale, preprocess=OPENAI_PIXELS):
    return {
        "pixels": [base64.b64encode(picture.tobytes()).decode() for picture in shown],
        "inputIds": ids,
        "imageEmbeddings": unit(encode_image(normalised(shown, **preprocess))),
        "textEmbeddings": unit(encode_text(ids)),
        "logitScale": logit_scale.double().exp().item(),
    }


def write_answers(folder, document):
    (folder / "answers.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")


def open_clip_model(config, preprocess):
    config = dict(config)
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    model = randomise(kind(**config))
    open_clip.model.set_model_preprocess_cfg(
        model, preprocess | {"interpolation": "bicubic", "resize_mode": "shortest"}
    )
    return model


def write_open_clip(config, folder, as_pickle):
    config = dict(config)
    preprocess = config.pop("preprocess", OPENAI_PIXELS)
    model = open_clip_model(config, preprocess)
    if as_pickle:
        torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    else:
        save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    save_config_for_hf(model, folder / "open_clip_config.json", model_config=config)
    text = config["text_cfg"]
    write_answers(folder, answers(
        pixels(config["vision_cfg"]["image_size"]),
        texts(text["vocab_size"], text["context_length"]),
        model.encode_image,
        lambda ids: model.encode_text(padded(ids, text["context_length"])),
        model.logit_scale,
        preprocess,
    ))


def write_transformers(variant, folder, as_pickle):
    activation = variant["activation"]
    tower = lambda sizes: dict(sizes, hidden_act=activation, intermediate_size=4 * sizes["hidden_size"])
    text = dict(tower(variant["text_config"]), eos_token_id=variant["text_config"]["vocab_size"] - 1)
    config = CLIPConfig(
        text_config=text, vision_config=tower(variant["vision_config"]), projection_dim=variant["projection_dim"]
    )
    model = randomise(CLIPModel(config))
    model.save_pretrained(folder)
    if as_pickle:
        # What older releases of the library wrote.
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    features = lambda output: getattr(output, "pooler_output", output)
    context = text["max_position_embeddings"]
    write_answers(folder, answers(
        pixels(variant["vision_config"]["image_size"]),
        texts(text["vocab_size"], context),
        lambda pictures: features(model.get_image_features(pixel_values=pictures)),
        lambda ids: features(model.get_text_features(input_ids=padded(ids, context))),
        model.logit_scale,
    ))


def write_golden(out):
    with tempfile.TemporaryDirectory() as scratch:
        for name, variant in (OPEN_CLIP_VARIANTS | TRANSFORMERS_VARIANTS).items():
            torch.manual_seed(SEEDS[name])
            folder = pathlib.Path(scratch) / name
            folder.mkdir()
            write = write_open_clip if name in OPEN_CLIP_VARIANTS else write_transformers
            write(variant, folder, as_pickle=name in ("open-clip-custom-text", "transformers-quick-gelu"))
            target = out / name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for path in folder.iterdir():
                if path.suffix in (".safetensors", ".bin"):
                    (target / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
                elif path.suffix == ".json" and path.name != "generation_config.json":
                    shutil.copy(path, target)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    arguments.add_argument("--model", help="one of OpenCLIP's architectures, at full size")
    arguments.add_argument("--quick-gelu", action="store_true")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.model is None:
        write_golden(options.out)
    else:
        torch.manual_seed(20220901)
        config = open_clip.get_model_config(options.model) | {"quick_gelu": options.quick_gelu}
        write_open_clip(config, options.out, as_pickle=False)


if __name__ == "__main__":
    main()
