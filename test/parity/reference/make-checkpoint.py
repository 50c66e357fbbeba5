"""Writes a random-weight CLIP checkpoint in the layouts that are read, and PyTorch's answers for it.

Provenance of full-size checks done by hand; no test runs it. In a virtual environment:

    pip install torch torchvision pillow ftfy regex safetensors numpy packaging tqdm "setuptools<81"
    pip install --no-deps openai-clip==1.0.1        # the reference's model.py and tokenizer
    python make-checkpoint.py --golden ../../golden --out FOLDER
    python make-checkpoint.py --golden ../../golden --out /tmp/outliers --outliers
    python make-checkpoint.py --golden ../../golden --out /tmp/variants --small --variants

Into OUT go
    ViT-B-32.pt         OpenAI's layout: a traced TorchScript module, half precision where convert_weights
                        makes it so, with the tensors input_resolution, context_length and vocab_size
    model.safetensors   the same values in Hugging Face's layout, float32
    config.json         what Hugging Face keeps beside it
    reference.json      {images: {name: [D]}, texts: {label: [D]}, logit_scale}: L2-normalised fp32 embeddings
                        of the golden pictures' .rgb pixels and of the golden labels; exp(logit_scale)
with --outliers a few channels of every kind of activation are 20 to 100 times as loud as the median one, as
they are in trained CLIPs; and with --variants the other ways in which people save the same weights.
"""

import argparse
import json
import math
import pathlib

import clip.model
import numpy
import torch
from clip.simple_tokenizer import SimpleTokenizer
from safetensors.torch import save_file

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])

FULL = dict(
    embed_dim=512, image_resolution=224, vision_layers=12, vision_width=768, vision_patch_size=32,
    context_length=77, vocab_size=49408, transformer_width=512, transformer_heads=8, transformer_layers=12,
)
# Everything differs from everything else, so that no axis can be taken for another.
SMALL = dict(
    embed_dim=96, image_resolution=224, vision_layers=3, vision_width=192, vision_patch_size=32,
    context_length=77, vocab_size=49408, transformer_width=128, transformer_heads=2, transformer_layers=2,
)


def random_model(sizes, outliers):
    """The reference's initialisation, moved off the ones and zeros that would hide a swapped weight."""
    model = clip.model.CLIP(**sizes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".ln_" in f".{name}" and name.endswith("weight"):
                parameter.normal_(1.0, 0.1)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.02)
        # Trained CLIPs have a few channels far louder than the rest.
        model.visual.ln_pre.weight[:3] *= 12
        model.visual.transformer.resblocks[1].mlp.c_proj.bias[5] = 6.0
        model.logit_scale.fill_(math.log(100.0))
        if outliers:
            add_outliers(model)
    clip.model.convert_weights(model)
    return model.eval()


LOUDNESS = torch.tensor([20.0, 35.0, 60.0, 100.0])


def add_outliers(model):
    """
    Makes four channels of each activation loud. What reads them is made quieter by a fifth of that only in the
    residual streams, so that they also count for more, and by all of it elsewhere.
    """
    count = len(LOUDNESS)
    spread = lambda width: torch.randperm(width)[:count]
    for tower, stream in ((model.visual.transformer, "vision"), (model.transformer, "text")):
        loud = spread(tower.width)
        if stream == "vision":
            model.visual.ln_pre.weight[loud] = LOUDNESS
            model.visual.ln_pre.bias[loud] = LOUDNESS / 2
        else:
            scale = LOUDNESS * model.token_embedding.weight.std()
            model.token_embedding.weight[:, loud] += scale
            model.positional_embedding[:, loud] += scale / 4 * torch.randn(len(model.positional_embedding), count)
        for block in tower.resblocks:
            block.attn.in_proj_weight[:, loud] /= LOUDNESS / 5
            block.mlp.c_fc.weight[:, loud] /= LOUDNESS / 5
            values = spread(tower.width)
            block.attn.in_proj_weight[2 * tower.width + values] *= LOUDNESS[:, None]
            block.attn.in_proj_bias[2 * tower.width + values] *= LOUDNESS
            block.attn.out_proj.weight[:, values] /= LOUDNESS
            hidden = spread(4 * tower.width)
            block.mlp.c_fc.weight[hidden] *= LOUDNESS[:, None]
            block.mlp.c_fc.bias[hidden] *= LOUDNESS
            block.mlp.c_proj.weight[:, hidden] /= LOUDNESS


def save_openai(model, sizes, path):
    for name, value in (
        ("input_resolution", sizes["image_resolution"]),
        ("context_length", sizes["context_length"]),
        ("vocab_size", sizes["vocab_size"]),
    ):
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))
    image = torch.zeros(1, 3, sizes["image_resolution"], sizes["image_resolution"])
    text = torch.zeros(1, sizes["context_length"], dtype=torch.long)
    text[0, 1] = 49407
    traced = torch.jit.trace(model, (image, text), check_trace=False)
    traced.save(str(path))


def hugging_face_state(weights):
    """The reference's names and shapes to those of transformers' CLIPModel."""
    state = {
        "logit_scale": weights["logit_scale"],
        "text_projection.weight": weights["text_projection"].T,
        "visual_projection.weight": weights["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(weights["positional_embedding"].shape[0])[None],
        "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(weights["visual.positional_embedding"].shape[0])[None],
    }
    for ours, theirs in (
        ("ln_final", "text_model.final_layer_norm"),
        ("visual.ln_pre", "vision_model.pre_layrnorm"),
        ("visual.ln_post", "vision_model.post_layernorm"),
    ):
        for part in ("weight", "bias"):
            state[f"{theirs}.{part}"] = weights[f"{ours}.{part}"]
    for ours, theirs in (("transformer", "text_model"), ("visual.transformer", "vision_model")):
        layer = 0
        while f"{ours}.resblocks.{layer}.ln_1.weight" in weights:
            block, target = f"{ours}.resblocks.{layer}", f"{theirs}.encoder.layers.{layer}"
            for part in ("weight", "bias"):
                q, k, v = weights[f"{block}.attn.in_proj_{part}"].chunk(3)
                state[f"{target}.self_attn.q_proj.{part}"] = q
                state[f"{target}.self_attn.k_proj.{part}"] = k
                state[f"{target}.self_attn.v_proj.{part}"] = v
                state[f"{target}.self_attn.out_proj.{part}"] = weights[f"{block}.attn.out_proj.{part}"]
                state[f"{target}.layer_norm1.{part}"] = weights[f"{block}.ln_1.{part}"]
                state[f"{target}.layer_norm2.{part}"] = weights[f"{block}.ln_2.{part}"]
                state[f"{target}.mlp.fc1.{part}"] = weights[f"{block}.mlp.c_fc.{part}"]
                state[f"{target}.mlp.fc2.{part}"] = weights[f"{block}.mlp.c_proj.{part}"]
            layer += 1
    return {
        name: (value if value.dtype == torch.long else value.float()).contiguous().clone()
        for name, value in state.items()
    }


def config(sizes):
    return {
        "model_type": "clip",
        "projection_dim": sizes["embed_dim"],
        "text_config": {
            "hidden_act": "quick_gelu",
            "hidden_size": sizes["transformer_width"],
            "num_attention_heads": sizes["transformer_heads"],
        },
        "vision_config": {
            "hidden_act": "quick_gelu",
            "hidden_size": sizes["vision_width"],
            "num_attention_heads": sizes["vision_width"] // 64,
        },
    }


@torch.no_grad()
def answers(model, sizes, golden):
    model = model.float()
    side = sizes["image_resolution"]
    images = {}
    for path in sorted((golden / "images").glob("*.rgb")):
        pixels = torch.from_numpy(numpy.fromfile(path, dtype=numpy.uint8).reshape(side, side, 3))
        normalised = ((pixels.float() / 255 - MEAN) / STD).permute(2, 0, 1)[None]
        images[path.stem] = model.encode_image(normalised)[0]
    tokenizer = SimpleTokenizer()
    texts = {}
    for label in json.loads((golden / "clip-tiny.json").read_text())["labels"]:
        ids = [49406, *tokenizer.encode(label), 49407]
        padded = torch.tensor([ids + [0] * (sizes["context_length"] - len(ids))])
        texts[label] = model.encode_text(padded)[0]
    unit = lambda row: [round(value, 8) for value in (row / row.norm()).tolist()]
    return {
        "images": {name: unit(row) for name, row in images.items()},
        "texts": {label: unit(row) for label, row in texts.items()},
        "logit_scale": model.logit_scale.exp().item(),
    }


def save_variants(model, weights, hf, out):
    torch.save(weights, out / "state-dict.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, out / "training.pt")
    torch.save({k: v.to(torch.bfloat16) for k, v in weights.items()}, out / "bfloat16.pt")
    torch.save({k: v.double() for k, v in weights.items()}, out / "double.pt")
    torch.save({k: torch.nn.Parameter(v.float()) for k, v in weights.items()}, out / "parameters.pt")
    # Column-major matrices and views into one shared storage: strides and offsets that are not trivial.
    torch.save({k: v.T.contiguous().T if v.dim() == 2 else v for k, v in weights.items()}, out / "strided.pt")
    flat = torch.cat([v.float().flatten() for v in weights.values()])
    views, start = {}, 0
    for name, value in weights.items():
        views[name] = flat[start : start + value.numel()].view(value.shape)
        start += value.numel()
    torch.save(views, out / "one-storage.pt")
    for protocol in (3, 4, 5):
        torch.save(weights, out / f"protocol-{protocol}.pt", pickle_protocol=protocol)
    torch.save(weights, out / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(model, out / "whole-module.pt")
    torch.save(hf, out / "pytorch_model.bin")
    save_file({k: v.half() if v.is_floating_point() else v for k, v in hf.items()}, out / "half.safetensors")
    save_file({k: v.contiguous().clone() for k, v in weights.items()}, out / "openai-names.safetensors")
    script = torch.jit.script(Holder(weights))
    script.save(str(out / "scripted.pt"))


class Holder(torch.nn.Module):
    """A module tree of the same names without the model's code, for torch.jit.script."""

    def __init__(self, weights):
        super().__init__()
        for name, value in weights.items():
            first, dot, rest = name.partition(".")
            if not dot:
                self.register_parameter(first, torch.nn.Parameter(value, requires_grad=value.is_floating_point()))
        children = {}
        for name, value in weights.items():
            first, dot, rest = name.partition(".")
            if dot:
                children.setdefault(first, {})[rest] = value
        for first, inner in children.items():
            self.add_module(first, Holder(inner))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--golden", type=pathlib.Path, required=True)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    arguments.add_argument("--small", action="store_true")
    arguments.add_argument("--outliers", action="store_true")
    arguments.add_argument("--variants", action="store_true")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(20210301)
    sizes = SMALL if options.small else FULL
    model = random_model(sizes, options.outliers)
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    hf = hugging_face_state(weights)
    save_file(hf, options.out / "model.safetensors", metadata={"format": "pt"})
    (options.out / "config.json").write_text(json.dumps(config(sizes), indent=2))
    if options.variants:
        save_variants(model, model.state_dict(), hf, options.out)
    # On a copy: the answers are computed in float32, the file keeps half precision.
    (options.out / "reference.json").write_text(json.dumps(answers(clone(model, sizes), sizes, options.golden)))
    save_openai(model, sizes, options.out / "ViT-B-32.pt")


def clone(model, sizes):
    copy = clip.model.CLIP(**sizes).eval()
    copy.load_state_dict(model.state_dict())
    return copy


if __name__ == "__main__":
    main()
