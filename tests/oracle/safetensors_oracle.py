#!/usr/bin/env python3
"""The Python package `safetensors` and ours read and write each other's files, to the byte.

    safetensors_oracle.py BUILD_FOLDER
"""

import pathlib
import sys
import tempfile
import unittest

import oracle_setup

oracle_setup.start("torch", "safetensors")
import torch
from safetensors.torch import load_file, save_file

PROGRAMS = oracle_setup.Programs(sys.argv[1])


def tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        "b": torch.randn(5, 3, generator=generator),
        "a/long.name\"with\\signs é": torch.randn(7, generator=generator),
        "scalar": torch.tensor(3.25),
        "empty": torch.zeros(0, 4),
        "five": torch.randn(1, 2, 3, 2, 1, generator=generator),
        "ids": torch.arange(-3, 9).reshape(3, 4),
        "special": torch.tensor([float("inf"), -0.0, 1e-42, float("-inf")]),
    }


class Safetensors(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.theirs, self.ours = (pathlib.Path(folder.name) / name for name in ("theirs.safetensors", "ours.safetensors"))

    def copy(self, values, metadata=None):
        save_file(values, self.theirs, metadata)
        PROGRAMS.run("tests/oracle_safetensors", self.theirs, self.ours)
        return load_file(self.ours)

    def test_the_same_tensors_are_the_same_bytes(self):
        for metadata in (None, {"format": "pt"}):
            self.copy(tensors(), metadata)
            self.assertEqual(self.theirs.read_bytes(), self.ours.read_bytes())

    def test_every_value_of_16_bits(self):
        bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
        for kind in (torch.float16, torch.bfloat16):
            values = bits.view(kind)
            got = self.copy({"values": values})["values"]
            self.assertTrue(torch.equal(got.isnan(), values.isnan()))
            same = got.view(torch.int32) == values.float().view(torch.int32)
            self.assertTrue(bool((same | values.isnan()).all()))

    def test_types_that_are_not_read_are_refused(self):
        save_file({"x": torch.zeros(3, dtype=torch.float64)}, self.theirs)
        with self.assertRaisesRegex(RuntimeError, "tensor x: F64"):
            PROGRAMS.run("tests/oracle_safetensors", self.theirs, self.ours)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
