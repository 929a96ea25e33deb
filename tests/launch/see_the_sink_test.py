"""launch/see_the_sink.sh and the watcher that it looks through: curves as text, on a terminal and off it, stopped, gone on, failed.

    see_the_sink_test.py SLUICE SLUICE_DATA
"""

import glob
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import unittest

from launch_test_folder import ROOT, SLUICE, LaunchTestFolder, newest_step, wait_for_records

sys.path.insert(0, os.path.join(ROOT, "launch"))
import watch_runs  # noqa: E402  pylint: disable=wrong-import-position

QUICK = ["schedule.warmup_steps=2", "training.global_batch_size=8", "model.num_hidden_layers=1", "training.precision=fp32"]


class Curves(unittest.TestCase):
    def test_a_chart_is_these_lines(self):
        lines = watch_runs.chart("loss", [[(0, 8.0), (50, 4.0), (99, 2.0)], [(0, 8.0), (50, 2.0)]], width=29, height=4, steps=100)
        self.assertEqual(lines, [
            "loss",
            "       8|+",
            "        |",
            "        |          o",
            "       2|          +        o",
        ])
        # One value, and steps beyond the last: nothing divides by zero or leaves the grid.
        self.assertEqual(watch_runs.chart("x", [[(300, 1.5)]], width=12, height=3, steps=100)[3], "     1.5|  o")

    def test_records_become_points(self):
        folder = LaunchTestFolder()
        try:
            os.mkdir(folder.at("run"))
            path = folder.at("run", "metrics.jsonl")
            records = [
                {"event": "train", "step": 10, "loss": 3.5, "gate_mean": 0.25},
                {"event": "attention", "step": 10, "layer_0.mass_on_first": [0.1, 0.4], "layer_1.mass_on_first": [0.3, "nan"],
                 "layer_0.delta_logit": [-1.0, 2.5]},
                {"event": "activations", "step": 10, "embedding.input.max_abs": 3, "layer_1.feed_forward.sum.max_abs": 44.5,
                 "layer_1.feed_forward.sum.kurtosis_per_token": 900},
                {"event": "train", "step": 20, "loss": "nan"},
                {"event": "alarm", "step": 20, "name": "max_abs", "value": 50}]
            text = "\n".join(json.dumps(record) for record in records) + "\n"
            with open(path, "w", encoding="utf-8") as file:
                file.write(text[:-5])  # a torn last line
            metrics = watch_runs.Metrics(folder.at("run"))
            metrics.read()
            self.assertEqual(metrics.step, 20)
            self.assertEqual(metrics.points, [[(10, 3.5)], [(10, 0.4)], [(10, 2.5)], [(10, 44.5)], [(10, 0.25)]])
            with open(path, "w", encoding="utf-8") as file:
                file.write('{"event":"train","step":5,"loss":4}\n')  # a resume took later lines away
            metrics.read()
            self.assertEqual((metrics.step, metrics.points[0], metrics.points[1]), (5, [(5, 4)], []))
        finally:
            shutil.rmtree(folder.path)


class SeeTheSink(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = LaunchTestFolder()
        cls.folder.write_text("train.txt", 120)
        # Stands in for `sluice report` only: what it is called with is what this test is about.
        cls.program = cls.folder.write_program(
            "bin/sluice", f'[ "$1" = report ] || exec {SLUICE} "$@"\necho "$@" >{cls.folder.at("report_arguments")}\n')
        os.symlink(os.path.abspath(sys.argv[2]), cls.folder.at("bin", "sluice-data"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder.path)

    def command(self, *arguments):
        return [os.path.join("tree", "launch", "see_the_sink.sh"), *arguments]  # relative to the folder of the call

    def environment(self, **more):
        return dict(os.environ, SLUICE_BIN=self.program, **more)

    def test_two_runs_to_the_page_and_further(self):
        out = self.folder.at("sink")
        common = [*QUICK, "--out", out, "--text", "train.txt"]
        status, printed = self.folder.run(*self.command(*common, "--steps", "20"), environment=self.environment())
        self.assertEqual(status, 0, printed)
        self.assertRegex(printed, r"vanilla: step 20/20, loss [\d.]+\n")
        self.assertRegex(printed, r"VGA: step 20/20, loss [\d.]+, .*gate 0\.\d+\n")
        self.assertNotIn("\x1b", printed)
        with open(self.folder.at("report_arguments"), encoding="utf-8") as file:
            self.assertEqual(file.read(), f"report {out}/vanilla {out}/vga --out {out}/report.html\n")
        # The number of updates is remembered; more go on from there.
        status, printed = self.folder.run(*self.command(*common), environment=self.environment())
        self.assertEqual(status, 0, printed)
        self.assertIn("vanilla and VGA: 20 updates each", printed)
        status, printed = self.folder.run(*self.command(*common, "--steps", "30"), environment=self.environment())
        self.assertEqual(status, 0, printed)
        self.assertEqual([newest_step(os.path.join(out, run)) for run in ("vanilla", "vga")], [30, 30])
        self.folder.write_text("other.txt", 60)
        status, printed = self.folder.run(*self.command(*common[:-1], "other.txt"), environment=self.environment())
        self.assertEqual(status, 1, printed)
        self.assertIn("holds runs on other text", printed)

    def test_a_terminal_is_redrawn(self):
        ours, theirs = pty.openpty()
        command = self.command(*QUICK, "training.log_every=1", "--out", self.folder.at("terminal"), "--text", "train.txt", "--steps", "40")
        started = subprocess.Popen(command, env=self.environment(TERM="xterm", COLUMNS="100", LINES="40"), cwd=self.folder.path,
                                   stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(ours)
        self.assertEqual(started.wait(timeout=100), 0, shown.decode())
        self.assertRegex(shown.decode(), r"\x1b\[\d+A\x1b\[J")
        last = shown.decode().rsplit("\x1b[J", 1)[1]
        self.assertIn("o vanilla: step 40/40", last)
        self.assertIn("+ VGA: step 40/40", last)
        self.assertIn("\nloss\r\n", last)
        self.assertIn("\nmean gate\r\n", last)

    def test_stopped_both_leave_checkpoints(self):
        out = self.folder.at("stopped")
        started = subprocess.Popen(self.command(*QUICK, "--out", out, "--text", "train.txt", "--steps", "100000"), env=self.environment(),
                                   cwd=self.folder.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, start_new_session=True)
        for run in ("vanilla", "vga"):
            wait_for_records(os.path.join(out, run))
        os.killpg(started.pid, signal.SIGINT)
        _, errors = started.communicate(timeout=100)
        self.assertEqual(started.returncode, 75, errors)
        self.assertIn("The same command goes on from here", errors)
        for run in ("vanilla", "vga"):
            self.assertGreater(newest_step(os.path.join(out, run)), 0)

    def test_a_closed_terminal_stops_both(self):
        out = self.folder.at("hung_up")
        # Without checkpoints in between: one that is there was written on the signal.
        started = subprocess.Popen(self.command(*QUICK, "checkpoint.every=0", "--out", out, "--text", "train.txt", "--steps", "100000"),
                                   env=self.environment(), cwd=self.folder.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        for run in ("vanilla", "vga"):
            wait_for_records(os.path.join(out, run))
        os.killpg(started.pid, signal.SIGHUP)
        started.stdout.close()
        started.wait(timeout=100)
        end = time.monotonic() + 100
        while not all(glob.glob(os.path.join(out, run, "checkpoints", "step_????????")) for run in ("vanilla", "vga")):
            self.assertLess(time.monotonic(), end, "a training goes on")
            time.sleep(0.1)

    def test_what_fails_says_why(self):
        for arguments, message in [
            (["--text", "absent.txt"], "there is no file"),
            (["--minutes", "soon"], "--minutes wants a number, not 'soon'"),
            (["--tiny"], "unknown option '--tiny'"),
            (["training.steps=7"], "training.steps=7: --steps or --minutes says that"),
            (["model.hiden_size=8", "--out", "bad", "--steps", "20", "--text", "train.txt"], "hidden_size"),
        ]:
            with self.subTest(" ".join(arguments)):
                status, printed = self.folder.run(*self.command(*arguments), environment=self.environment())
                self.assertEqual(status, 1, printed)
                self.assertIn(message, printed)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
