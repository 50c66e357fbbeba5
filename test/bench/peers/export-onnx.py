"""Exports a CLIP checkpoint for transformers.js, as the files published for it are made.

    python export-onnx.py CHECKPOINT_FOLDER VOCABULARY.txt.gz OUT

CHECKPOINT_FOLDER holds model.safetensors in Hugging Face's layout and its config.json. Into OUT go both towers
with their projections (PyTorch's exporter on transformers' own classes), in float32 and quantised by ONNX
Runtime's quantize_dynamic with the options of transformers.js's own scripts/quantize.py: `_quantized` with
uint8 weights (its choice for models with a convolution; dtype q8) and `_int8` with signed ones, which are
faster on most processors; and the tokenizer, built from OpenAI's vocabulary.
"""

import gzip
import json
import pathlib
import shutil
import sys

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import CLIPImageProcessor, CLIPModel

MERGES = 49152 - 256 - 2


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values):
        return self.projection(self.tower(pixel_values=pixel_values).pooler_output)


class Text(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower, self.projection = model.text_model, model.text_projection

    def forward(self, input_ids):
        return self.projection(self.tower(input_ids=input_ids).pooler_output)


def export(module, example, path, name, output, axes):
    torch.onnx.export(
        module, (example,), str(path / f"{name}.onnx"), dynamo=False, opset_version=18,
        input_names=list(axes), output_names=[output], dynamic_axes={**axes, output: {0: "batch"}},
    )
    for suffix, weights in (("quantized", QuantType.QUInt8), ("int8", QuantType.QInt8)):
        quantize_dynamic(
            path / f"{name}.onnx", path / f"{name}_{suffix}.onnx", weight_type=weights,
            extra_options=dict(EnableSubgraph=True, MatMulConstBOnly=True),
        )


def byte_characters():
    """The printable character that stands for each byte in the vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(rest))]


def save_tokenizer(vocabulary, length, out):
    lines = gzip.open(vocabulary).read().decode().split("\n")[1 : MERGES + 1]
    merges = [tuple(line.split()) for line in lines]
    characters = byte_characters()
    tokens = characters + [f"{character}</w>" for character in characters] + ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE(
        vocab={token: index for index, token in enumerate(tokens)}, merges=merges,
        end_of_word_suffix="</w>", unk_token="<|endoftext|>", fuse_unk=False, continuing_subword_prefix="",
    ))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    special = {"<|startoftext|>": len(tokens) - 2, "<|endoftext|>": len(tokens) - 1}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=list(special.items()),
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": length, "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    }))


def main():
    checkpoint, vocabulary, out = map(pathlib.Path, sys.argv[1:])
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    model = CLIPModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    side = model.config.vision_config.image_size
    length = model.config.text_config.max_position_embeddings
    with torch.no_grad():
        export(
            Vision(model), torch.zeros(2, 3, side, side), out / "onnx", "vision_model", "image_embeds",
            {"pixel_values": {0: "batch"}},
        )
        end = model.config.text_config.eos_token_id
        export(
            Text(model), torch.full((2, length), end, dtype=torch.long), out / "onnx", "text_model", "text_embeds",
            {"input_ids": {0: "batch", 1: "length"}},
        )
    CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(out)
    shutil.copy(checkpoint / "config.json", out)
    save_tokenizer(vocabulary, length, out)


main()
