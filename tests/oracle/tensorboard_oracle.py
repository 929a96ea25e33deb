#!/usr/bin/env python3
"""TensorBoard reads what a run recorded: the numbers of metrics.jsonl, the gates of the checkpoint and the attention maps, also after a resume.

    tensorboard_oracle.py BUILD_FOLDER
"""

import json
import pathlib
import struct
import sys
import tempfile
import unittest
import zlib

import oracle_setup

oracle_setup.start("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PROGRAMS = oracle_setup.Programs(sys.argv[1])


def grey_pixels(png):
    """(width, height, lines) of a PNG of eight bits of grey without filters."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    content, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data = png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        content[kind], at = data, at + 12 + length
    width, height, *rest = struct.unpack(">IIBBBBB", content[b"IHDR"])
    assert rest == [8, 0, 0, 0, 0], rest
    lines = zlib.decompress(content[b"IDAT"])
    assert len(lines) == height * (width + 1) and not any(lines[:: width + 1])
    return width, height, [lines[y * (width + 1) + 1 : (y + 1) * (width + 1)] for y in range(height)]


class TensorBoard(unittest.TestCase):
    def test_a_run_and_its_resume(self):
        with tempfile.TemporaryDirectory() as folder:
            run = pathlib.Path(folder) / "run"
            for steps in (10, 20):
                PROGRAMS.sluice(
                    "train", "configs/bigram_backcopy/vga_small.yaml", f"training.steps={steps}", "training.evaluate_every=10",
                    "training.log_every=5", "checkpoint.every=10", "telemetry.activation_statistics_every=5", "telemetry.norm_statistics_every=10",
                    "telemetry.attention_maps_every=10", "schedule.warmup_steps=2", "model.hidden_size=16", "model.intermediate_size=32",
                    "--run-folder", run)
            self.assertEqual(len(list((run / "tensorboard").iterdir())), 2)
            events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0, "images": 0})
            events.Reload()
            records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            trained = [record for record in records if record["event"] == "train"]
            self.assertEqual([record["step"] for record in trained], [5, 10, 15, 20])
            for field in ("loss", "gradient_norm", "learning_rate", "tokens_per_s"):
                scalars = events.Scalars(f"train/{field}")
                self.assertEqual([scalar.step for scalar in scalars], [5, 10, 15, 20])
                for scalar, record in zip(scalars, trained):
                    self.assertAlmostEqual(scalar.value / record[field], 1, delta=2**-23)
            evaluations = [record["perplexity"] for record in records if record["event"] == "evaluation"]
            scalars = events.Scalars("evaluation/bigram_backcopy/perplexity")
            self.assertEqual(len(evaluations), len(scalars))
            for scalar, perplexity in zip(scalars, evaluations):
                self.assertAlmostEqual(scalar.value / perplexity, 1, delta=2**-23)
            for event, steps in (("activations", [5, 10, 15, 20]), ("norms", [10, 20])):
                recorded = [record for record in records if record["event"] == event]
                self.assertEqual([record["step"] for record in recorded], steps)
                for field in recorded[0].keys() - {"event", "step"}:
                    scalars = events.Scalars(f"{event}/{field}")
                    self.assertEqual([scalar.step for scalar in scalars], steps)
                    for scalar, record in zip(scalars, recorded):
                        self.assertAlmostEqual(scalar.value, record[field], delta=2**-23 * abs(record[field]))
            images = events.Images("attention/layer_00/head_00/sequence_0")
            self.assertEqual([image.step for image in images], [0, 10, 20])
            for image in images:
                maps = json.loads((run / "attention_maps" / f"step_{image.step:08d}.json").read_text())["sequences"][0]
                tokens = len(maps["tokens"])
                width, height, lines = grey_pixels(image.encoded_image_string)
                self.assertEqual((image.width, image.height), (width, height))
                size = width // tokens
                self.assertEqual((width, height), (size * tokens, size * tokens))
                for query, row in enumerate(maps["layers"][0][0]):
                    for key, p in enumerate(row):
                        self.assertAlmostEqual(lines[query * size][key * size], 255 * (1 - p), delta=0.5 + 255 * 0.5e-4)
            gates = events.Histograms("gates/layer_00/head_00")
            self.assertEqual([gate.step for gate in gates], [10, 20])
            for gate in gates:
                histogram = gate.histogram_value
                self.assertGreater(histogram.num, 0)
                self.assertEqual(sum(histogram.bucket), histogram.num)
                self.assertLess(histogram.min, histogram.sum / histogram.num)
                self.assertGreater(histogram.max, histogram.sum / histogram.num)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
