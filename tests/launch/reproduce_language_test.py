"""launch/reproduce_language.sh: text to tables, stopped and gone on, what it refuses, and its job array under a Slurm of two stand-ins.

    reproduce_language_test.py SLUICE SLUICE_DATA
"""

import json
import os
import shutil
import subprocess
import sys
import unittest

from launch_test_folder import SLUICE, LaunchTestFolder, newest_step, wait_for_records

QUICK = ["runtime.threads=1", "schedule.warmup_steps=2", "training.global_batch_size=8", "model.num_hidden_layers=1", "model.hidden_size=32",
         "model.intermediate_size=64", "training.precision=fp32"]


class ReproduceLanguage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = LaunchTestFolder()
        for name, documents in (("train.txt", 120), ("held_out.txt", 4), ("empty.txt", 0)):
            cls.folder.write_text(name, documents)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder.path)

    def command(self, *arguments):
        return [os.path.join("tree", "launch", "reproduce_language.sh"), *arguments]  # relative to the folder of the call

    def environment(self, **more):
        return dict(os.environ, SLUICE_BIN=SLUICE, **more)

    def run_script(self, *arguments, code=0):
        status, printed = self.folder.run(*self.command(*arguments), environment=self.environment())
        self.assertEqual(status, code, printed)
        return printed

    def tables(self, out):
        with open(os.path.join(out, "report", "tables.json"), encoding="utf-8") as file:
            return json.load(file)

    def test_text_to_tables(self):
        out = self.folder.at("opt")
        text = ["--text", "train.txt", "--validation", "held_out.txt"]
        common = ["opt", *QUICK, "--seeds", "1", "--out", out, "--steps"]
        printed = self.run_script(*common, "4", "--variants", "registers,vga,vanilla", *text)
        order = [line.split("] ")[1].split(",")[0] for line in printed.splitlines() if "all that is left" in line]
        self.assertEqual(order, ["vga", "vanilla", "registers"])
        self.assertIn("all that is left: 12 updates", printed)
        self.assertRegex(printed, r"all that is left: 4 updates, about \d+ min")
        self.assertIn("Table 2: OPT after INT8 quantization", printed)
        rows = self.tables(out)
        self.assertEqual([row["method"] for row in rows], ["Vanilla", "Register Tokens", "VGA"])
        for row in rows:
            self.assertEqual(row["runs"][0]["step"], 4)
            self.assertGreater(row["perplexity"]["mean"], 1)
            self.assertGreater(row["int8_max_io_norm"]["mean"], 0)
        # Nothing is left to do: nothing is trained or measured again, and fewer variants leave the others in the tables.
        # A copy is the same text.
        shutil.copyfile(self.folder.at("train.txt"), self.folder.at("copy.txt"))
        again = self.run_script(*common, "4", "--variants", "vanilla", "--text", "copy.txt", *text[2:])
        self.assertNotIn("all that is left", again)
        self.assertNotIn("evaluate and quantize", again)
        self.assertEqual(self.tables(out), rows)
        # More updates: measured again.
        further = self.run_script(*common, "6", "--variants", "vanilla", *text)
        self.assertIn("all that is left: 2 updates", further)
        self.assertEqual([row["runs"][0]["step"] for row in self.tables(out)], [6, 4, 4])
        # A finished run was made with these settings, and is no answer about others.
        refused = self.run_script(*common, "6", "--variants", "vanilla", *text, "optimizer.beta2=0.97", code=1)
        self.assertIn("vanilla_seed_1000 was trained with other settings: > optimizer.beta2=0.97", refused)
        self.run_script(*common, "6", "--variants", "vanilla", *text, "checkpoint.every=3", "training.log_every=1")
        # Other text in the same folder is refused.
        refused = self.run_script(*common, "6", "--variants", "vanilla", "--text", "train.txt", code=1)
        self.assertIn("holds runs on other text", refused)
        # Killed while it measured: that is made again, the training is not.
        run = os.path.join(out, "vga_seed_1000")
        os.remove(os.path.join(run, "measured_after"))
        os.rename(os.path.join(run, "quantize.json"), os.path.join(run, "quantize.json.part"))
        self.assertNotIn("| VGA |", self.run_script("opt", "--report", "--out", out))
        healed = self.run_script(*common, "4", "--variants", "vga", *text)
        self.assertNotIn("all that is left", healed)
        self.assertIn("evaluate and quantize", healed)
        self.assertEqual([row["method"] for row in self.tables(out)], ["Vanilla", "Register Tokens", "VGA"])

    def test_ablations(self):
        """Every question about gates is trained, evaluated and quantized, beside vanilla, with the model of the size."""
        out = self.folder.at("ablations")
        questions = sorted(os.path.splitext(name)[0] for name in os.listdir("configs/ablations"))
        questions.remove("finetune_vga")  # begins with a model that is trained
        self.assertGreaterEqual(len(questions), 15)
        arguments = ["opt", *QUICK, "model.num_hidden_layers=4", "--seeds", "1", "--steps", "2", "--out", out, "--text", "train.txt", "--ablations"]
        self.run_script(*arguments, "--variants", "site_key")
        self.run_script(*arguments)
        rows = self.tables(out)
        perplexities = {os.path.basename(run["folder"]): run["fp32"]["perplexity"] for row in rows for run in row["runs"]}
        self.assertEqual(sorted(perplexities), sorted(f"{name}_seed_1000" for name in [*questions, "vanilla"]))
        # The tiny size's biases start at 0, where a gate starts at 0.5. Any two others are different models.
        self.assertEqual(perplexities["bias_seed_1000"], perplexities.pop("start_0.5_seed_1000"))
        self.assertEqual(len(set(perplexities.values())), len(perplexities), perplexities)
        run = os.path.join(out, "site_key_seed_1000", "config.yaml")
        with open(run, encoding="utf-8") as file:
            config = file.read()
        for line in ("site: key", "row_start: every_row", "weight_decay: 0.1"):  # its own, and two of the tiny size
            self.assertIn(line, config)

    def test_bert_with_two_seeds(self):
        out = self.folder.at("bert")
        self.run_script("bert", *QUICK, "--seeds", "2", "--variants", "vga", "--steps", "3", "--out", out, "--text", "train.txt")
        (row,) = self.tables(out)
        self.assertEqual((row["architecture"], row["method"], row["perplexity"]["runs"]), ("bert", "VGA", 2))
        self.assertEqual([run["seed"] for run in row["runs"]], [1000, 1001])
        self.assertGreater(row["perplexity"]["deviation"], 0)

    def test_stopped_it_goes_on(self):
        out = self.folder.at("stopped")
        arguments = ["opt", *QUICK, "--seeds", "1", "--variants", "vanilla", "--out", out, "--text", "train.txt", "--steps"]
        status, errors, step = self.folder.interrupt(
            *self.command(*arguments, "100000"), environment=self.environment(), run=os.path.join(out, "vanilla_seed_1000"))
        self.assertEqual(status, 75, errors)
        self.assertIn("The same command goes on from here", errors)
        self.assertIn(f"step_{step:08d}", self.run_script(*arguments, str(step + 5)))
        self.assertEqual(self.tables(out)[0]["runs"][0]["step"], step + 5)

    def test_what_it_refuses(self):
        for arguments, message in [
            (["gpt"], "unknown option 'gpt'"),
            (["--size", "huge"], "--size wants tiny, small or base, not 'huge'"),
            (["--variants", "vanilla,vgb"], "there is no variant 'vgb'; known: vanilla vga"),
            (["--variants", ""], "--variants wants names"),
            (["--variants"], "--variants wants names"),
            (["--variants", "baseline"], "there is no variant 'baseline'"),
            (["--ablations", "--variants", "iga"], "there is no variant 'iga'; known: vanilla baseline"),
            (["--ablations", "--size", "base"], "--ablations is for --size tiny and small"),
            (["--seeds", "0"], "--seeds wants a number, not '0'"),
            (["--text", "absent.txt"], "there is no file"),
            (["--text"], "--text wants one file or more"),
            (["--validation", "held_out.txt"], "--validation wants --text too"),
            (["--text", "empty.txt"], "the text needs two paragraphs"),
            (["--text", "train.txt", "--validation", "empty.txt"], "there is no text in the files of --validation"),
            (["--submit"], "--submit is for --size base"),
            (["--size", "base", "--text", "train.txt"], "--text is for --size tiny and small"),
            (["training.steps=7"], "training.steps=7: --steps and --seeds say that"),
            (["training.seed=7"], "training.seed=7: --steps and --seeds say that"),
            (["--text", "train.txt", "training.steps=7"], "training.steps=7: --steps and --seeds say that"),
            (["--report", "--out", "nothing"], "there is no finished run in"),
            (["--seeds", "1", "--variants", "vga", "--out", "bad", "model.hiden_size=8", "--text", "train.txt"], "hidden_size"),
        ]:
            with self.subTest(" ".join(arguments)):
                self.assertIn(message, self.run_script(*arguments, code=1))

    def test_a_job_array(self):
        """Under stand-ins for srun and scontrol: a task that is stopped is queued again, goes on, and is measured at its end."""
        out = self.folder.at("cluster")
        # Where there is a file `stop`, evaluations are stopped as by Slurm.
        self.folder.write_program("slurm/srun", 'while [[ $1 == --* ]]; do shift; done\n'
                                  f'if [ "$2" = evaluate ] && [ -e {self.folder.at("stop")} ]; then kill -TERM $$; fi\nexec "$@"\n')
        self.folder.write_program("slurm/scontrol", f'echo "$@" >>{self.folder.at("scontrol.log")}\n')
        # Shards of the tiny size stand in for the paper's, and its widths for theirs.
        shards = self.folder.at("shards")
        self.run_script("opt", *QUICK, "--seeds", "1", "--variants", "vga", "--steps", "2", "--out", shards, "--text", "train.txt")
        with open(os.path.join(shards, "vga_seed_1000", "config.yaml"), encoding="utf-8") as file:
            work = os.path.dirname(next(line.split(": ", 1)[1].strip().strip('"') for line in file if line.startswith("  train: ")))
        small = [*QUICK, f"data.train={work}/train", f"data.validation=[{work}/validation]", "data.sequence_length=16", "model.vocab_size=0",
                 "model.num_attention_heads=2", "training.gradient_accumulation_steps=1"]
        printed = self.run_script("opt", "--size", "base", "--seeds", "2", "--variants", "iga,vanilla", "--steps", "200000", "--out", out, *small)
        self.assertIn("sbatch --array=0-3 --job-name=opt_language launch/slurm/reproduce_language.sbatch configs/opt_125m", printed)
        with open(os.path.join(out, "runs.txt"), encoding="utf-8") as file:
            self.assertEqual(file.read().splitlines(), ["vanilla 1000", "vanilla 1001", "iga 1000", "iga 1001"])
        # Shown again it is the same; other settings would reach tasks that wait.
        with open(os.path.join(out, "settings.txt"), encoding="utf-8") as file:
            settings = file.read()
        again = ["opt", "--size", "base", "--seeds", "2", "--variants", "iga,vanilla", "--out", out, *small, "--steps"]
        self.assertIn(f"{out} {out}/runs.txt", self.run_script(*again, "200000"))
        self.assertIn("says otherwise", self.run_script(*again, "7", code=1))
        # Other runs are another list.
        self.assertIn(f"--array=0-0 --job-name=opt_language launch/slurm/reproduce_language.sbatch configs/opt_125m {out} {out}/runs_2.txt",
                      self.run_script(*again, "200000", "--seeds", "1", "--variants", "vga"))
        with open(os.path.join(out, "settings.txt"), encoding="utf-8") as file:
            self.assertEqual(file.read(), settings)
        environment = self.environment(PATH=self.folder.at("slurm") + os.pathsep + os.environ["PATH"], SLURM_ARRAY_TASK_ID="3",
                                       SLURM_ARRAY_JOB_ID="77", SLUICE_DEVICE="cpu")
        job = ["bash", "launch/slurm/reproduce_language.sbatch", "configs/opt_125m", out, os.path.join(out, "runs.txt")]
        run = os.path.join(out, "iga_seed_1001")
        started = subprocess.Popen(job, env=environment, cwd=self.folder.tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, start_new_session=True)
        wait_for_records(run)
        # Slurm signals the step, not the script: the only other process of its group.
        subprocess.run(["pkill", "-TERM", "--pgroup", str(started.pid), "-x", "sluice"], check=True)
        printed, _ = started.communicate(timeout=100)
        self.assertEqual(started.returncode, 75, printed)
        self.assertIn("iga, seed 1001: stopped with a checkpoint; queued again", printed)
        with open(self.folder.at("scontrol.log"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "requeue 77_3\n")
        step = newest_step(run)
        with open(os.path.join(out, "settings.txt"), "a", encoding="utf-8") as file:
            file.write(f"training.steps={step + 3}\n")
        done = subprocess.run(job, env=environment, cwd=self.folder.tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=200, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("iga, seed 1001: done", done.stdout)
        self.run_script("opt", "--size", "base", "--out", out, "--report")
        (row,) = self.tables(out)
        self.assertEqual((row["method"], row["runs"][0]["seed"], row["runs"][0]["step"]), ("IGA", 1001, step + 3))
        # Stopped while it is measured: queued again, and nothing half.
        os.remove(os.path.join(run, "evaluate.json"))
        self.folder.write_text("stop", 0)
        stopped = subprocess.run(job, env=environment, cwd=self.folder.tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, timeout=200, check=False)
        self.assertEqual(stopped.returncode, 75, stopped.stdout)
        self.assertIn("iga, seed 1001: stopped by a signal while it was measured; queued again", stopped.stdout)
        self.assertEqual([name for name in os.listdir(run) if name.startswith("evaluate")], [])
        os.remove(self.folder.at("stop"))
        subprocess.run(job, env=environment, cwd=self.folder.tree, stdin=subprocess.DEVNULL, check=True, timeout=200)
        # Nothing to do leaves the measurements; a run that has gone on is measured again.
        measured = os.stat(os.path.join(run, "quantize.json")).st_mtime_ns
        for steps in (step + 3, step + 4):
            with open(os.path.join(out, "settings.txt"), "a", encoding="utf-8") as file:
                file.write(f"training.steps={steps}\n")
            subprocess.run(job, env=environment, cwd=self.folder.tree, stdin=subprocess.DEVNULL, check=True, timeout=200)
            self.assertEqual(os.stat(os.path.join(run, "quantize.json")).st_mtime_ns == measured, steps == step + 3)
        self.run_script("opt", "--size", "base", "--out", out, "--report")
        (row,) = self.tables(out)
        self.assertEqual(row["runs"][0]["step"], step + 4)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
