"""Makes what OpenVINO runs from the vision tower that export-onnx.py wrote, and the reference of all.

    python prepare-openvino.py CHECKPOINT_FOLDER ONNX PICTURES OUT

PICTURES holds calibration.raw and evaluation.raw: [N, S, S, 3] uint8. Into OUT go the towers in float32 and in int8
as OpenVINO's IR, and reference.raw, the embeddings [N, D] float32 of the evaluation's pictures by PyTorch in float32.
int8 is as optimum-intel makes it for this model: NNCF's static quantisation with its settings of
openai/clip-vit-base-patch32 (300 pictures, SmoothQuant with 0.6, no repair of overflows). int8-no-overflow has
weights of seven bits, for processors whose products of bytes overflow.
"""

import pathlib
import sys

import nncf
import numpy as np
import openvino as ov
import torch
from transformers import CLIPVisionModelWithProjection

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

checkpoint, onnx, pictures, out = map(pathlib.Path, sys.argv[1:])
side = CLIPVisionModelWithProjection.config_class.from_pretrained(checkpoint).image_size


def pixel_values(name):
    pixels = np.fromfile(pictures / name, np.uint8).reshape(-1, side, side, 3)
    return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))


with torch.inference_mode():
    tower = CLIPVisionModelWithProjection.from_pretrained(checkpoint, dtype=torch.float32).eval()
    embeddings = [tower(torch.from_numpy(one[None])).image_embeds[0].numpy() for one in pixel_values("evaluation.raw")]
np.stack(embeddings).tofile(out / "reference.raw")

calibration = pixel_values("calibration.raw")
core = ov.Core()
model = core.read_model(onnx)
ov.save_model(model, out / "fp32.xml", compress_to_fp16=False)
for name, overflow in (("int8", nncf.OverflowFix.DISABLE), ("int8-no-overflow", nncf.OverflowFix.ENABLE)):
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=overflow)
    advanced.smooth_quant_alphas.matmul = 0.6
    quantised = nncf.quantize(
        core.read_model(onnx), nncf.Dataset([one[None] for one in calibration]), subset_size=len(calibration),
        preset=nncf.QuantizationPreset.MIXED, fast_bias_correction=True, model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=advanced,
    )
    ov.save_model(quantised, out / f"{name}.xml")
