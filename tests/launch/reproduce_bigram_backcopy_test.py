"""launch/reproduce_bigram_backcopy.sh: which runs in which order, stopped and gone on, what it refuses; with the quick tier and few updates.

    reproduce_bigram_backcopy_test.py SLUICE SLUICE_DATA
"""

import json
import os
import shutil
import sys
import unittest

from launch_test_folder import SLUICE, LaunchTestFolder

ARMS = ["vanilla", "vga", "iga", "vga_key_site", "iga_key_site"]


class ReproduceBigramBackcopy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = LaunchTestFolder()
        cls.environment = dict(os.environ, SLUICE_BIN=SLUICE, OMP_NUM_THREADS="1")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder.path)

    def command(self, *arguments):
        return [os.path.join("tree", "launch", "reproduce_bigram_backcopy.sh"), *arguments]

    def run_script(self, *arguments, code=0, **environment):
        status, printed = self.folder.run(*self.command(*arguments), environment=dict(self.environment, **environment))
        self.assertEqual(status, code, printed)
        return printed

    @staticmethod
    def trained(printed):
        """ARM SEED UPDATES of each training, in order."""
        words = [line.split("] ")[1].replace(",", "").split() for line in printed.splitlines() if "all that is left" in line]
        return [(arm, int(seed), int(updates)) for arm, _, seed, _, updates, *_ in words]

    def test_every_arm_to_verdicts(self):
        out = self.folder.at("quick")
        printed = self.run_script("--quick", "--seeds", "1", "--steps", "2", "--optional", "--out", out)
        self.assertEqual(self.trained(printed), [(arm, 42, 2) for arm in [*ARMS, "relu", "three_layers"]])
        self.assertIn("directions only", printed)
        with open(os.path.join(out, "report", "verdicts.json"), encoding="utf-8") as file:
            verdicts = json.load(file)
        self.assertEqual({verdict["check"] for verdict in verdicts if verdict["arm"] in ("vanilla", "vga", "vanilla - vga")},
                         {f"T{n}" for n in range(1, 13)})
        self.assertLessEqual({"vanilla", "vga", "iga", "vga_key", "iga_key", "relu"}, {verdict["arm"] for verdict in verdicts})
        with open(os.path.join(out, "report", "records.csv"), encoding="utf-8") as file:
            arms = {line.split(",")[0] for line in file.read().splitlines()[1:]}
        self.assertIn("vanilla_3_layers", arms)
        self.assertTrue(os.path.getsize(os.path.join(out, "report", "delta_logit_type.svg")))
        # Nothing is left; then another seed, of each arm; then the report alone.
        again = ["--quick", "--steps", "2", "--out", out]
        self.assertEqual(self.trained(self.run_script(*again, "--seeds", "1")), [])
        self.assertEqual(self.trained(self.run_script(*again, "--seeds", "2")), [(arm, 43, 2) for arm in ARMS])
        self.assertEqual(self.trained(self.run_script(*again, "--check")), [])
        with open(os.path.join(out, "report", "records.csv"), encoding="utf-8") as file:
            self.assertIn("iga_key,43,", file.read())  # which this call would not train
        self.assertIn("vanilla_seed_42 was trained with other settings", self.run_script("--out", out, "--steps", "2", code=1))

    def test_what_each_tier_trains(self):
        """A program that trains nothing stands in: how long runs are and in which order they come."""
        program = self.folder.write_program("stand_in", """
[ "$1" = train ] || exit 0
while [ $# -gt 0 ]; do case $1 in --run-folder) mkdir -p "$2"; echo >"$2/metrics.jsonl" ;; esac; shift; done
""")
        seeds = [(arm, seed) for seed in (42, 43, 44) for arm in ARMS[:2]]
        others = [(arm, seed) for seed in (43, 44) for arm in ARMS[2:]]
        reduced = ([(arm, seed, 4000) for arm, seed in seeds] + [(arm, 42, 4000) for arm in ARMS[2:]] +
                   [(arm, 42, 10000) for arm in ARMS[:2]] + [(arm, seed, 4000) for arm, seed in others])
        quick = [(arm, seed, 1000) for arm, seed in seeds] + [(arm, 42, 1000) for arm in ARMS[2:]]
        optional = ["relu", "three_layers", "three_layers_sgd"]
        for name, arguments, runs in [
            ("a", [], reduced), ("b", ["--optional"], reduced + [(arm, 42, 4000) for arm in optional]), ("c", ["--quick"], quick),
            ("d", ["--full", "--steps", "1000"], [(arm, 42, 1000) for arm in ARMS[:2]]),
            ("e", ["--full", "--seeds", "2"], [(arm, seed, 10000) for seed in (42, 43) for arm in ARMS[:2]]),
        ]:
            with self.subTest(" ".join(arguments)):
                self.assertEqual(self.trained(self.run_script(*arguments, "--out", self.folder.at(name), SLUICE_BIN=program)), runs)

    def test_stopped_it_goes_on(self):
        out = self.folder.at("stopped")
        arguments = ["--quick", "--seeds", "1", "--out", out, "--steps"]
        status, errors, step = self.folder.interrupt(
            *self.command(*arguments, "100000"), environment=self.environment, run=os.path.join(out, "vanilla_seed_42"))
        self.assertEqual(status, 75, errors)
        self.assertIn("The same command goes on from here", errors)
        self.assertIn(f"step_{step:08d}", self.run_script(*arguments, str(step + 1)))

    def test_what_it_refuses(self):
        for arguments, message in [
            (["--steps", "0"], "--steps wants a number, not '0'"),
            (["--seeds", "many"], "--seeds wants a number, not 'many'"),
            (["--device", "tpu"], "--device wants cpu or cuda"),
            (["--out"], "--out wants a folder"),
            (["--fast"], "unknown option --fast"),
            (["--check", "--out", "nothing"], "there is no run in"),
        ]:
            with self.subTest(" ".join(arguments)):
                self.assertIn(message, self.run_script(*arguments, code=1))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
