"""What the tests of launch/ share: a folder with text, and a tree of the project's scripts and configurations whose data and runs are the test's."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

SLUICE = os.path.abspath(sys.argv[1])
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
WORDS = ["river", "gate", "water", "opens", "closes", "the", "a", "of", "and", "slowly", "lock", "channel"]


class LaunchTestFolder:
    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="sluice_test_")
        self.tree = self.at("tree")
        os.mkdir(self.tree)
        for name in ("launch", "configs"):
            os.symlink(os.path.join(ROOT, name), os.path.join(self.tree, name))

    def at(self, *names):
        return os.path.join(self.path, *names)

    def write_text(self, name, documents):
        generator = random.Random(1)
        with open(self.at(name), "w", encoding="utf-8") as file:
            for _ in range(documents):
                file.write(" ".join(generator.choice(WORDS) for _ in range(90)) + ".\n\n")

    def write_program(self, name, body):
        path = self.at(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/usr/bin/env bash\n" + body)
        os.chmod(path, 0o755)
        return path

    def run(self, *command, environment, timeout=280):
        """(exit code, both outputs together)"""
        done = subprocess.run(command, env=environment, cwd=self.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
        return done.returncode, done.stdout

    def interrupt(self, *command, environment, run):
        """Ctrl-C, as a terminal gives it to all processes of the command, once its run has records: (exit code, errors, newest step of the run)"""
        with subprocess.Popen(command, env=environment, cwd=self.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, start_new_session=True) as started:
            wait_for_records(run)
            os.killpg(started.pid, signal.SIGINT)
            _, errors = started.communicate(timeout=100)
        return started.returncode, errors, newest_step(run)


def wait_for_records(run):
    """Until the run has written to its metrics.jsonl."""
    metrics = os.path.join(run, "metrics.jsonl")
    deadline = time.monotonic() + 200
    while not (os.path.exists(metrics) and os.path.getsize(metrics)):
        if time.monotonic() > deadline:
            raise TimeoutError(metrics)
        time.sleep(0.05)


def newest_step(run):
    return max(int(name.removeprefix("step_")) for name in os.listdir(os.path.join(run, "checkpoints")) if name.startswith("step_"))
