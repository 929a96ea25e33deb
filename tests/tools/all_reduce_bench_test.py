"""`sluice bench all-reduce` under mpirun: on the CPU, and with `cuda` as a third argument on GPUs (or the emulator). It checks its sums
itself; here it is what it prints.

    all_reduce_bench_test.py SLUICE SLUICE_DATA [cuda]
"""

import json
import sys
import unittest

from command_line import run

DEVICE = sys.argv[3] if len(sys.argv) > 3 else "cpu"


class AllReduceBench(unittest.TestCase):
    def bench(self, *arguments, ranks):
        return run("bench", "all-reduce", "--device", DEVICE, *arguments, ranks=ranks)

    def test_bandwidths_follow_from_sizes_and_times(self):
        for ranks in (2, 3):
            code, out, error = self.bench("--mebibytes", "0.001,0.25", "--steps", 3, "--json", ranks=ranks)
            self.assertEqual(code, 0, out + error)
            lines = [json.loads(line) for line in out.splitlines()]
            self.assertEqual([line["bytes"] for line in lines], [1048, 262144])  # whole floats
            for line in lines:
                self.assertEqual(line["ranks"], ranks)
                self.assertEqual("nccl" in line["communicator"], DEVICE == "cuda")
                self.assertEqual(line["emulated"], "emulator" in line["device"])
                self.assertGreater(line["seconds"], 0)
                algorithm = line["bytes"] / line["seconds"]
                self.assertAlmostEqual(line["algorithm_bytes_per_s"] / algorithm, 1, places=6)
                self.assertAlmostEqual(line["bus_bytes_per_s"] / algorithm, 2 * (ranks - 1) / ranks, places=6)

    def test_table_for_people(self):
        code, out, error = self.bench("--mebibytes", "0.5", "--steps", 1, ranks=2)
        self.assertEqual(code, 0, out + error)
        head, columns, row = out.splitlines()
        self.assertIn("over 2 ranks", head)
        self.assertEqual("times of an emulator" in head, "PTX emulator" in head)
        self.assertIn("bus GB/s", columns)
        self.assertEqual(float(row.split()[0]), 0.5)
        self.assertEqual(len(row.split()), 4)

    def test_what_cannot_work_says_so(self):
        for arguments, ranks, message in (([], 0, "under mpirun"), (["--mebibytes", "0"], 0, "--mebibytes"),
                                          (["--device", "tpu"], 0, "--device"), (["some.yaml"], 2, "takes no configuration")):
            code, out, error = run("bench", "all-reduce", *arguments, ranks=ranks)
            self.assertNotEqual(code, 0, out)
            self.assertIn(message, out + error)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
