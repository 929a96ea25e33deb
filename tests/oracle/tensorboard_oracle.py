#!/usr/bin/env python3
"""TensorBoard reads what a run recorded: the numbers of metrics.jsonl and the gates of the checkpoint, also after a resume.

    tensorboard_oracle.py BUILD_FOLDER
"""

import json
import pathlib
import sys
import tempfile
import unittest

import oracle_setup

oracle_setup.start("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PROGRAMS = oracle_setup.Programs(sys.argv[1])


class TensorBoard(unittest.TestCase):
    def test_a_run_and_its_resume(self):
        with tempfile.TemporaryDirectory() as folder:
            run = pathlib.Path(folder) / "run"
            for steps in (10, 20):
                PROGRAMS.sluice(
                    "train", "configs/bigram_backcopy/vga_small.yaml", f"training.steps={steps}", "training.evaluate_every=10",
                    "training.log_every=5", "checkpoint.every=10", "schedule.warmup_steps=2", "model.hidden_size=16", "model.intermediate_size=32",
                    "--run-folder", run)
            self.assertEqual(len(list((run / "tensorboard").iterdir())), 2)
            events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
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
