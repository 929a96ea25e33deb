#!/usr/bin/env python3
"""Trains several runs at once and shows their curves while they run: what see_the_sink.sh looks through.

    launch/watch_runs.py --sluice PROGRAM --run LABEL CONFIG FOLDER [--run …] [key.path=value…]

On a terminal of 60 columns or more the curves are redrawn once a second; elsewhere a line a run is printed every --seconds. What a curve needs is
read from FOLDER/metrics.jsonl; what a run does not record is not drawn. Its own output goes to FOLDER.log. Ctrl-C stops the runs, which leave
checkpoints; the same call goes on. Exit code: 75 when stopped, else that of the first run that failed. Python's standard library only.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

STOPPED = 75
MARKS = "o+x*"


def numbers(value):
    """Of a field: a number, a text such as "nan", or an array of them over heads."""
    values = value if isinstance(value, list) else [value]
    return [number for number in values if isinstance(number, (int, float)) and not isinstance(number, bool)]


def largest(ending):
    """The largest value of all layers' fields with this ending."""
    def value(record):
        found = [number for name, field in record.items() if name.endswith(ending) for number in numbers(field)]
        return max(found) if found else None
    return value


def plain(name):
    def value(record):
        found = numbers(record.get(name))
        return found[0] if found else None
    return value


# event, what the curve is called, its value in a record
CURVES = [
    ("train", "loss", plain("loss")),
    ("attention", "attention to the first token, head that gives it most", largest(".mass_on_first")),
    ("attention", "logit of the first token above the others', largest head", largest(".delta_logit")),
    ("activations", "largest |x| of any activation", largest(".max_abs")),
    ("train", "mean gate", plain("gate_mean")),
]


class Metrics:
    """The points of all curves of one run, as its metrics.jsonl grows; a resume that shortens the file starts anew."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "metrics.jsonl")
        self.clear()

    def clear(self):
        self.offset, self.step = 0, 0
        self.points = [[] for _ in CURVES]

    def read(self):
        try:
            with open(self.path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self.offset:
                    self.clear()
                file.seek(self.offset)
                text = file.read()
        except FileNotFoundError:
            return
        end = text.rfind(b"\n") + 1  # a line may still be being written
        self.offset += end
        for line in text[:end].splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                self.add(record)

    def add(self, record):
        self.step = max(self.step, record["step"]) if record.get("event") == "train" else self.step
        for points, (event, _, value) in zip(self.points, CURVES):
            number = value(record) if record.get("event") == event else None
            if number is not None:
                points.append((record["step"], number))


def digits(value):
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def chart(title, curves, width, height, steps):
    """Lines of text: the curves, each a list of (step, value), over steps 0 … `steps`. Later curves lie on top."""
    values = [value for points in curves for _, value in points]
    low, high = min(values), max(values)
    span = high - low or 1.0
    columns = width - 9
    grid = [[" "] * columns for _ in range(height)]
    for points, mark in zip(curves, MARKS):
        for step, value in points:
            column = min(columns - 1, step * columns // max(1, steps))
            grid[height - 1 - round((value - low) / span * (height - 1))][column] = mark
    labels = {0: digits(high), height - 1: digits(low)}
    lines = [f"{labels.get(row, ''):>8}|{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    return [title, *lines]


def picture(labels, metrics, steps, started, size):
    """What the terminal shows: as many curves as fit."""
    width, room = min(size.columns, 100), size.lines - len(labels) - 2
    drawn = [(title, [run.points[index] for run in metrics])
             for index, (_, title, _) in enumerate(CURVES) if any(run.points[index] for run in metrics)]
    height = min(8, max(3, room // max(1, len(drawn)) - 1))
    lines = []
    for label, mark, run in zip(labels, MARKS, metrics):
        lines.append(f"{mark} {state(label, run, steps, started)}")
    for title, curves in drawn:
        part = chart(title, curves, width, height, steps)
        if len(lines) + len(part) < size.lines:
            lines += part
    return [line[:size.columns - 1] for line in lines]


def state(label, run, steps, started):
    """One line: where a run is, how long it may still take, and its last numbers."""
    first, first_time = started.setdefault(label, (run.step, time.monotonic()))
    text = f"{label}: step {run.step}/{steps}"
    if first < run.step < steps:
        left = (time.monotonic() - first_time) * (steps - run.step) / (run.step - first)
        text += f", {int(left) // 60}m{int(left) % 60:02d}s left"
    for points, name in zip(run.points, ("loss", "attention to first", "delta logit", "max |x|", "gate")):
        if points:
            text += f", {name} {digits(points[-1][1])}"
    return text


class Screen:
    """Redraws on a terminal; elsewhere prints the runs' lines now and then."""

    def __init__(self, seconds):
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.seconds, self.printed, self.last = seconds, 0, time.monotonic()

    def show(self, labels, metrics, steps, started, final=False):
        if self.terminal:
            lines = picture(labels, metrics, steps, started, shutil.get_terminal_size())
            sys.stdout.write((f"\x1b[{self.printed}A" if self.printed else "") + "\x1b[J" + "\n".join(lines) + "\n")
            self.printed = len(lines)
        elif final or time.monotonic() - self.last >= self.seconds:
            self.last = time.monotonic()
            for label, run in zip(labels, metrics):
                print(state(label, run, steps, started))
        sys.stdout.flush()


def start(arguments, config, folder):
    """A run's process."""
    os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
    with open(folder + ".log", "ab") as log:
        return subprocess.Popen(
            [arguments.sluice, "train", config, "--run-folder", folder, *arguments.settings], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True)  # Ctrl-C comes through us, once


def last_lines(path, count=6):
    with open(path, "rb") as file:
        return file.read()[-4000:].decode(errors="replace").splitlines()[-count:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True)
    parser.add_argument("--run", nargs=3, action="append", required=True, metavar=("LABEL", "CONFIG", "FOLDER"))
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_args()
    arguments.settings.append(f"training.steps={arguments.steps}")
    labels = [label for label, _, _ in arguments.run]
    metrics = [Metrics(folder) for _, _, folder in arguments.run]
    for run in metrics:  # of an earlier call: what is left to do is timed from there
        run.read()
    processes, stopped, started, screen = [], [], {}, Screen(arguments.seconds)

    def stop(*_):
        stopped.append(True)
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    for _, config, folder in arguments.run:
        if not stopped:
            processes.append(start(arguments, config, folder))
    if stopped:
        stop()  # the one that was just being started, too
    while True:
        running = [process.poll() is None for process in processes]
        for run in metrics:
            run.read()
        try:
            screen.show(labels, metrics, arguments.steps, started, final=not any(running))
        except OSError:  # nobody reads any more
            sys.stdout = open(os.devnull, "w", encoding="utf-8")
            stop()
        if not any(running):
            break
        # One that failed leaves nothing to compare with.
        if not stopped and any(process.returncode not in (None, 0) for process in processes):
            stop()
        time.sleep(1 if all(running) else 0.3)
    failed = [(process.returncode, folder) for process, (_, _, folder) in zip(processes, arguments.run)
              if process.returncode not in (0, STOPPED)]
    for code, folder in failed:
        print(f"the run {folder} ended with code {code}:", *last_lines(folder + ".log"), sep="\n  ", file=sys.stderr)
    if failed:
        return failed[0][0] if failed[0][0] > 0 else 1
    return STOPPED if len(processes) < len(arguments.run) or any(process.returncode == STOPPED for process in processes) else 0


if __name__ == "__main__":
    sys.exit(main())
