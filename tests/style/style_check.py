"""What the style checks share: the files of the tree, the report, and the self-test.

A check is a module with
    check(tree) -> list of problems, each "path:line: sentence"
    BAD         -> list of (files, words): a small tree, as {path: text}, in which check() must find
                   exactly one problem whose text contains `words`
    GOOD        -> {path: text}: a tree in which it must find none
and ends with  `sys.exit(style_check.main(sys.modules[__name__]))`.

    python3 tests/style/name_test.py               checks the tree
    python3 tests/style/name_test.py --self-test   shows that it fails on every sample of BAD
"""

import os
import re
import sys
import tempfile

TOP_FOLDERS = ("src", "kernels", "configs", "launch", "data_tools", "tests", "docs", ".ci")
CPP_ENDINGS = (".h", ".cc", ".cu", ".cuh")


class Tree:
    """The files of the project, by path relative to its root, sorted."""

    def __init__(self, root):
        self.root = root
        self.paths = [name for name in os.listdir(root) if os.path.isfile(os.path.join(root, name))]
        for top in TOP_FOLDERS:
            for folder, folders, names in os.walk(os.path.join(root, top)):
                folders[:] = [name for name in folders if name != "__pycache__"]
                self.paths += [os.path.relpath(os.path.join(folder, name), root) for name in names]
        self.paths.sort()
        self._texts = {}

    def ending(self, *endings):
        return [path for path in self.paths if path.endswith(endings)]

    def cpp(self):
        return self.ending(*CPP_ENDINGS)

    def text(self, path):
        if path not in self._texts:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                self._texts[path] = file.read()
        return self._texts[path]

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))


_CPP_TOKENS = re.compile(
    r'R"(?P<mark>[^()\s\\]{0,16})\(.*?\)(?P=mark)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"'  # string
    r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'"  # character, but not the ' in 1'000
    r"|//(?:\\\n|[^\n])*"
    r"|/\*.*?\*/",
    re.DOTALL,
)


def without_comments_and_strings(text):
    """The same text with comments and the contents of literals blanked; lines stay where they are."""

    def blank(match):
        found = match.group(0)
        if found.startswith(('"', "R")):
            return '"' + re.sub(r"[^\n]", " ", found[1:-1]) + '"'
        return re.sub(r"[^\n]", " ", found)

    return _CPP_TOKENS.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def _problems_in_sample(module, files):
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            full = os.path.join(folder, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        return module.check(Tree(folder))


def _self_test(module):
    failures = []
    found = _problems_in_sample(module, module.GOOD)
    if found:
        failures.append(f"GOOD: expected no problem, found {found}")
    for number, (files, words) in enumerate(module.BAD):
        found = _problems_in_sample(module, files)
        if len(found) != 1 or words not in found[0]:
            failures.append(f"BAD[{number}]: expected one problem with '{words}', found {found}")
    print(f"{len(module.BAD)} bad samples and 1 good one, {len(failures)} judged wrongly")
    for failure in failures:
        print(failure)
    return 1 if failures or not module.BAD else 0


def main(module):
    if sys.argv[1:] == ["--self-test"]:
        return _self_test(module)
    if sys.argv[1:]:
        print(__doc__)
        return 2
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    tree = Tree(root)
    if not tree.cpp():
        print(f"no C++ file below {root}: nothing was checked")
        return 1
    problems = module.check(tree)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems in {len(tree.paths)} files")
    return 1 if problems else 0
