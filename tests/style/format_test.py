"""Every C++ file is as clang-format-14 writes it (.clang-format). Skipped where it is not installed:
launch/install_dependencies.sh --development installs it."""

import os
import re
import shutil
import subprocess
import sys

import style_check

PROGRAM = "clang-format-14"
_WARNING = re.compile(r"^(.+?):(\d+):\d+: (?:error|warning): ", re.MULTILINE)


def check(tree):
    paths = tree.cpp()
    problems = []
    for begin in range(0, len(paths), 50):
        result = subprocess.run(
            [PROGRAM, "--dry-run", "--Werror", *paths[begin : begin + 50]],
            cwd=tree.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )
        first = {}
        for path, line in _WARNING.findall(result.stderr):
            first.setdefault(path, line)
        problems += [f"{path}:{line}: run {PROGRAM} -i {path}" for path, line in first.items()]
        if result.returncode != 0 and not first:
            problems.append(f"{PROGRAM} failed: {result.stderr.strip()}")
    return problems


_STYLE = {".clang-format": "BasedOnStyle: Google\nColumnLimit: 100\n"}
GOOD = _STYLE | {"src/core/a.cc": "int f(int a) { return a; }\n"}
BAD = [
    (_STYLE | {"src/core/a.cc": "int f(int a)  { return a; }\n"}, "src/core/a.cc:1: run clang-format"),
    (_STYLE | {"src/core/a.h": "int f(\n  int a);\n"}, "src/core/a.h:1: run clang-format"),
]

if __name__ == "__main__":
    if not shutil.which(PROGRAM):
        print(f"SKIPPED: {PROGRAM} is not installed; launch/install_dependencies.sh --development installs it")
        sys.exit(0)
    os.environ.pop("CLANG_FORMAT_STYLE", None)
    sys.exit(style_check.main(sys.modules[__name__]))
