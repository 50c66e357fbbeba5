"""One peer's vision tower, measured on demand.

    python python-tower.py openvino PICTURES SIDE MODEL.xml PRECISION_HINT STREAMS
    python python-tower.py faster-clip PICTURES SIDE
    python python-tower.py pytorch PICTURES SIDE CHECKPOINT_FOLDER

PICTURES is a file of [N, SIDE, SIDE, 3] uint8. Commands come as lines of JSON, answers go as such. {"batch": 8,
"seconds": 1} answers with pictures a second and with milliseconds of processor time a picture; {"embeddings": FILE}
writes [N, D] float32.
"""

import io
import json
import sys
import time

import numpy as np

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def read_pixels(file, side):
    return np.fromfile(file, np.uint8).reshape(-1, int(side), int(side), 3)


def pixel_values(pixels):
    return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))


def answer(value):
    print(json.dumps(value), flush=True)


class OpenVino:
    """Inputs of fixed shapes, which is fastest. With streams, that many batches run at the same time."""

    def __init__(self, pixels, path, hint, streams):
        import openvino as ov

        self.ov, self.path, self.streams = ov, path, int(streams)
        self.core = ov.Core()
        if hint == "bf16" and "BF16" not in self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            sys.exit("this processor has no bf16")
        self.options = {} if hint == "default" else {"INFERENCE_PRECISION_HINT": hint}
        self.options |= {"PERFORMANCE_HINT": "LATENCY"} if self.streams == 1 else {"NUM_STREAMS": self.streams}
        self.values, self.queues = pixel_values(pixels), {}

    def queue(self, batch):
        if batch not in self.queues:
            model = self.core.read_model(self.path)
            model.reshape([batch, *self.values.shape[1:]])
            self.queues[batch] = self.ov.AsyncInferQueue(self.core.compile_model(model, "CPU", self.options), self.streams)
        return self.queues[batch]

    def embed(self):
        results = {}
        queue = self.queue(1)
        queue.set_callback(lambda request, index: results.update({index: request.get_output_tensor().data[0].copy()}))
        for index in range(len(self.values)):
            queue.start_async([self.values[index : index + 1]], index)
        queue.wait_all()
        queue.set_callback(lambda request, index: None)
        return [results[index] for index in range(len(self.values))]

    def run_for(self, batch, seconds):
        """Measures between two ends of a run, while all streams are busy."""
        queue, started, ends = self.queue(batch), 0, []
        queue.set_callback(lambda request, index: ends.append((time.perf_counter(), time.process_time())))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(ends) < 2 * self.streams + 1:
            start = started % (len(self.values) - batch + 1)
            queue.start_async([self.values[start : start + batch]])
            started += batch
        while_busy = ends[:]
        queue.wait_all()
        (first, first_cpu), (last, last_cpu) = while_busy[0], while_busy[-1]
        return (len(while_busy) - 1) * batch, last - first, last_cpu - first_cpu


class OneAfterAnother:
    """Engines that take one call at a time."""

    def embed(self):
        return [row for start in range(0, self.count, 8) for row in self.encode(start, min(start + 8, self.count))]

    def run_for(self, batch, seconds):
        count, wall, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() < wall + seconds:
            start = count % (self.count - batch + 1)
            self.encode(start, start + batch)
            count += batch
        return count, time.perf_counter() - wall, time.process_time() - cpu


class FasterClip(OneAfterAnother):
    """It takes files only: bitmaps of the tower's size, so that decoding costs little."""

    def __init__(self, pixels):
        from faster_clip import ClipModel
        from PIL import Image

        self.model, self.files = ClipModel(), []
        for picture in pixels:
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "BMP")
            self.files.append(file.getvalue())
        self.count = len(self.files)

    def encode(self, start, end):
        return self.model.encode_image(self.files[start:end])


class PyTorch(OneAfterAnother):
    def __init__(self, pixels, checkpoint):
        import torch
        from transformers import CLIPVisionModelWithProjection

        self.torch = torch
        self.tower = CLIPVisionModelWithProjection.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self.values = torch.from_numpy(pixel_values(pixels))
        self.count = len(self.values)

    def encode(self, start, end):
        with self.torch.inference_mode():
            return self.tower(self.values[start:end]).image_embeds.numpy()


engine = {"openvino": OpenVino, "faster-clip": FasterClip, "pytorch": PyTorch}[sys.argv[1]](
    read_pixels(*sys.argv[2:4]), *sys.argv[4:]
)
for batch in (8, 1):
    engine.run_for(batch, 0.1)
answer({"ready": True})
for line in sys.stdin:
    command = json.loads(line)
    if "embeddings" in command:
        np.array(engine.embed(), np.float32).tofile(command["embeddings"])
        answer({})
        continue
    count, wall, cpu = engine.run_for(command["batch"], command["seconds"])
    answer({"perSecond": count / wall, "cpuMs": cpu * 1000 / count})
