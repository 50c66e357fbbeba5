"""The original's stack as a service: Flask in one process, OpenAI's CLIP classes, current PyTorch.

    python original-server.py CHECKPOINT_FOLDER PORT

Kinder than the service of 2021: photos of a request go through the model in batches of 8, and labels that came
before are not encoded again. As there, one request is served after another.
"""

import functools
import json
import pathlib
import sys

import clip
import torch
from clip.clip import _transform
from clip.model import build_model
from flask import Flask, jsonify, request
from PIL import Image
from safetensors.torch import load_file

BATCH = 8
RESOLUTION = 224

OUTER = {
    "ln_final": "text_model.final_layer_norm",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
}
INNER = {
    "attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}


def openai_names(weights):
    """Hugging Face's names and shapes to those of the reference's model.py."""
    state = {
        "logit_scale": weights["logit_scale"],
        "text_projection": weights["text_projection.weight"].T,
        "visual.proj": weights["visual_projection.weight"].T,
        "token_embedding.weight": weights["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": weights["text_model.embeddings.position_embedding.weight"],
        "visual.class_embedding": weights["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": weights["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": weights["vision_model.embeddings.position_embedding.weight"],
    }
    for ours, theirs in OUTER.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = weights[f"{theirs}.{part}"]
    for ours, theirs in (("transformer", "text_model"), ("visual.transformer", "vision_model")):
        layer = 0
        while f"{theirs}.encoder.layers.{layer}.layer_norm1.weight" in weights:
            block, source = f"{ours}.resblocks.{layer}", f"{theirs}.encoder.layers.{layer}"
            for part in ("weight", "bias"):
                stacked = [weights[f"{source}.self_attn.{letter}_proj.{part}"] for letter in "qkv"]
                state[f"{block}.attn.in_proj_{part}"] = torch.cat(stacked)
                for inner, name in INNER.items():
                    state[f"{block}.{inner}.{part}"] = weights[f"{source}.{name}.{part}"]
            layer += 1
    return state


def normalised(features):
    return features / features.norm(dim=-1, keepdim=True)


folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
model = build_model(openai_names(load_file(folder / "model.safetensors"))).float().eval()
preprocess = _transform(RESOLUTION)
app = Flask(__name__)


@functools.lru_cache(maxsize=1000)
def text_features(labels):
    return normalised(model.encode_text(clip.tokenize(list(labels))))


@app.get("/ready")
def ready():
    return "ready"


@app.post("/categorize")
@torch.inference_mode()
def categorize():
    labels = tuple(json.load(request.files["categories"])["categories"])
    files = request.files.getlist("files")
    answer = {}
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        pixels = torch.stack([preprocess(Image.open(file.stream)) for file in batch])
        logits = model.logit_scale.exp() * normalised(model.encode_image(pixels)) @ text_features(labels).T
        for file, best in zip(batch, logits.argmax(dim=-1).tolist()):
            answer[file.filename] = labels[best]
    return jsonify(answer)


app.run(host="127.0.0.1", port=port, threaded=False)
