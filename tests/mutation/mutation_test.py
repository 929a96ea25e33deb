"""Shows that the tests of the CUDA kernels, and of the order of streams, notice mistakes: builds each mutant of mutants.py and wants its test to fail.

    python3 tests/mutation/mutation_test.py --build build/ci [--only WORDS] [--jobs N]

A mutant's copy of kernels/cuda lies in BUILD/mutation/NAME; of it the objects that the mutant names are compiled, and
the test is linked once more with them before the library that has the right ones; of a mutated .cc file of src, its own object. Each test must pass, with the same
filter, without a mutant, and so must the control, which is built like a mutant. Needs a build on the emulator, with the tests that mutants.py names.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time

import mutants

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEST_SECONDS = 300  # what is slower than this hangs: no test with its filter takes a tenth of it
STOPPED_BY_EMULATOR = re.compile(r"^(?P<source>[^\n:]+:\d+)[^\n]*?: (?P<what>[^\n]*)\n  in [^\n]*, block \(", re.M)
FAILED_TEST = re.compile(r"^\[  FAILED  \] (\S+)", re.M)


class BrokenCheck(Exception):
    """The check itself could not be done: neither caught nor missed."""


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options)


def commands_of(build, target):
    done = run(["ninja", "-C", build, "-t", "commands", target], check=False)
    if done.returncode != 0:
        raise BrokenCheck(f"ninja knows no target {target}: {done.stdout.strip()}")
    return done.stdout.strip().split("\n")


def mutated_tree(mutant, folder):
    """A copy of kernels/cuda, or of the .cc file of src, with the mutant in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if mutant.file.endswith(".cc"):
        os.makedirs(folder)
        path = shutil.copy(os.path.join(ROOT, mutant.file), folder)
    else:
        tree = os.path.join(folder, "kernels", "cuda")
        shutil.copytree(os.path.join(ROOT, "kernels", "cuda"), tree)
        path = os.path.join(tree, mutant.file)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(mutant.old) != 1:
        raise BrokenCheck(f"{mutant.file} has this {text.count(mutant.old)} times, not once: {mutant.old.strip()}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(mutant.old, mutant.new))


def compiled_source(mutant, folder, build):
    """The object of a mutated .cc file of src, by the build's own command."""
    module, stem = os.path.split(mutant.file)
    right = f"{module}/CMakeFiles/sluice_{os.path.basename(module)}.dir/{stem}.o"
    source, wrong = os.path.join(folder, stem), os.path.join(folder, f"{stem}.o")
    command = commands_of(build, right)[-1].replace(right, wrong).replace(os.path.join(ROOT, mutant.file), source)
    done = run(command, shell=True, cwd=build, check=False)
    if done.returncode != 0 or not os.path.exists(wrong):
        raise BrokenCheck(f"does not compile:\n{done.stdout}")
    return [wrong]


def compiled(mutant, folder, build):
    """The mutant's objects, by the build's own commands with the mutant's tree before the real one."""
    if mutant.file.endswith(".cc"):
        return compiled_source(mutant, folder, build)
    objects = []
    for stem in mutant.objects:
        right = f"kernels/cuda/{stem}.cu.o"
        command = " && ".join(part for part in commands_of(build, right)[-1].split(" && ") if "cmake_transform_depfile" not in part)
        wrong = os.path.join(folder, f"{stem}.cu.o")
        source = os.path.join(ROOT, "kernels", "cuda", f"{stem}.cu")
        for old, new in ((os.path.abspath(os.path.join(build, right)), wrong), (source, os.path.join(folder, "kernels", "cuda", f"{stem}.cu")),
                         (f"-I{ROOT} ", f"-I{folder} -I{ROOT} "), ("-Werror=all-warnings", ""), ("-Xcompiler=-Werror", "")):
            command = command.replace(old, new)
        done = run(command, shell=True, cwd=build, check=False)
        if done.returncode != 0 or not os.path.exists(wrong):
            raise BrokenCheck(f"does not compile:\n{done.stdout}")
        objects.append(wrong)
    return objects


def linked(mutant, folder, build, objects):
    output = f"tests/{mutant.test}"
    command = commands_of(build, output)[-1]
    program = os.path.join(folder, mutant.test)
    if f"-o {output} " not in command:
        raise BrokenCheck(f"the command that links {output} does not name it: {command}")
    command = command.replace(f"-o {output} ", f"{' '.join(objects)} -o {program} ")
    done = run(command, shell=True, cwd=build, check=False)
    if done.returncode != 0:
        raise BrokenCheck(f"does not link:\n{done.stdout}")
    return program


def verdict_of_profile(program, words):
    """The same of gpu_profile, by what tests/gpu_budgets/profile_test.py says of its counts."""
    judge = os.path.join(ROOT, "tests", "gpu_budgets", "profile_test.py")
    done = run([sys.executable, "-B", judge, "--program", program], cwd=ROOT, timeout=TEST_SECONDS, check=False)
    said = [line for line in done.stdout.split("\n") if words in line]
    if done.returncode != 0 and not said:
        raise BrokenCheck(f"fails, but not with '{words}':\n{done.stdout[-2000:]}")
    return done.returncode == 0, said[0] if said else ""


def verdict_of_test(program, test_filter):
    """(passed, why not)"""
    if os.path.basename(program) == "gpu_profile":
        return verdict_of_profile(program, test_filter)
    try:
        done = run([program, f"--gtest_filter={test_filter}"], cwd=ROOT, timeout=TEST_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BrokenCheck(f"the test hangs: {TEST_SECONDS} s and no end") from error
    if "Running 0 tests" in done.stdout or "[ RUN      ]" not in done.stdout:
        raise BrokenCheck(f"no test ran with the filter {test_filter}:\n{done.stdout[-2000:]}")
    if done.returncode == 0:
        return True, ""
    stopped, failed = STOPPED_BY_EMULATOR.search(done.stdout), FAILED_TEST.search(done.stdout)
    if stopped:
        return False, f"the emulator stops it at {stopped['source']}: {stopped['what']}"
    return False, f"{failed.group(1)} fails" if failed else f"exit code {done.returncode}: {done.stdout.strip()[-200:]}"


def try_mutant(mutant, build):
    """(noticed, sentence)"""
    folder = os.path.join(build, "mutation", mutant.name.replace(" ", "_").replace("'", ""))
    mutated_tree(mutant, folder)
    program = linked(mutant, folder, build, compiled(mutant, folder, build))
    passed, why = verdict_of_test(program, mutant.filter)
    os.remove(program)
    return (False, f"not noticed by {mutant.test} {mutant.filter}") if passed else (True, why)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", default="", help="mutants whose name has these words")
    parser.add_argument("--jobs", type=int, default=1)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    build = os.path.abspath(arguments.build)
    chosen = [mutant for mutant in mutants.MUTANTS if arguments.only in mutant.name]
    failures = 0 if chosen else 1
    for test, test_filter in sorted({(mutant.test, mutant.filter) for mutant in chosen}):
        passed, why = verdict_of_test(os.path.join(build, "tests", test), test_filter)
        print(f"without a mutant: {test} {test_filter} {'passes' if passed else 'FAILS: ' + why}", flush=True)
        failures += not passed

    def judged(mutant):
        begin = time.monotonic()
        try:
            noticed, sentence = try_mutant(mutant, build)
            right = noticed != (mutant is mutants.CONTROL)
        except BrokenCheck as error:
            right, sentence = False, f"BROKEN CHECK: {error}"
        print(f"{'ok    ' if right else 'FAILED'}  {mutant.name} ({time.monotonic() - begin:.0f} s): {sentence}", flush=True)
        return right

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        control, *verdicts = pool.map(judged, [mutants.CONTROL, *chosen])
    failures += verdicts.count(False) + (not control)
    print(f"{verdicts.count(True)} of {len(verdicts)} mutants caught; the control {'passes' if control else 'FAILED'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
