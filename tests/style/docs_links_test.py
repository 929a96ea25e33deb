"""Paths in the documentation exist: links, `paths in code spans`, paths in code blocks, and the
pages (and #sections) that comments in the sources point to."""

import glob
import os
import re
import sys

import style_check

_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_DOCS_MENTION = re.compile(r"\bdocs/[\w/.-]*\.md(?:#[\w-]+)?")
# What stands for a name of the reader's: <name>, NAME, STEP, N, …, variables.
_PLACEHOLDER = re.compile(r"<|>|\$|…|\.\.\.|=|(?:^|[/._-])[A-Z]{2,}(?:[/._]|$)|(?:^|/)[NX](?:[/._]|$)")


def slug(heading):
    """The #name that a heading gets: lower case, spaces to hyphens, punctuation dropped."""
    text = re.sub(r"[`*_]", "", heading).strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(text):
    without_code = _FENCE.sub("", text)
    return {slug(heading) for heading in re.findall(r"^#+\s+(.+)$", without_code, re.MULTILINE)}


def alternatives(path):
    """a.{h,cc} stands for a.h and a.cc."""
    found = re.search(r"\{([^{}]*,[^{}]*)\}", path)
    if not found:
        return [path]
    heads = [path[: found.start()] + choice + path[found.end() :] for choice in found.group(1).split(",")]
    return [path for head in heads for path in alternatives(head)]


def missing(tree, base, target):
    """None, or what of `target` (path, path#section, path:line, pattern) does not exist below
    `base` (a folder of the tree, "" for its root)."""
    path, _, section = re.sub(r":\d+(-\d+)?$", "", target).partition("#")
    for one in alternatives(path):
        full = os.path.normpath(os.path.join(tree.root, base, one)) if one else None
        if full and not glob.glob(full):
            return one
    if section and path.endswith(".md"):
        page = os.path.normpath(os.path.join(base, path))
        if section not in anchors(tree.text(page)):
            return f"{path}#{section}"
    return None


def looks_like_path(tree, word):
    top = word.split("/")[0]
    if "/" not in word or _PLACEHOLDER.search(word) or not re.fullmatch(r"[\w./{},*:#@-]+", word):
        return False
    # A folder of ours, and not the name of a module's include (core/x.h is src/core/x.h).
    return top in style_check.TOP_FOLDERS


def problems_of_page(tree, path):
    text, folder, problems = tree.text(path), os.path.dirname(path), []

    def report(offset, what):
        problems.append(f"{path}:{style_check.line_of(text, offset)}: '{what}' does not exist")

    for fence in _FENCE.finditer(text):
        for word in re.finditer(r"[^\s'\"`()|;]+", fence.group(0)):
            name = word.group(0).strip(".,:").removeprefix("./")
            if looks_like_path(tree, name) and missing(tree, "", name):
                report(fence.start() + word.start(), name)
    prose = _FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found.group(0)), text)
    for link in _LINK.finditer(prose):
        target = link.group(1)
        if re.match(r"[a-z]+:", target):
            continue
        base, target = (folder, target) if not target.startswith("#") else (folder, os.path.basename(path) + target)
        if missing(tree, base, target):
            report(link.start(1), link.group(1))
    for span in _CODE_SPAN.finditer(prose):
        for word in span.group(1).split():
            if looks_like_path(tree, word) and missing(tree, "", word):
                report(span.start(1), word)
    return problems


def check(tree):
    problems = []
    for path in tree.ending(".md"):
        problems += problems_of_page(tree, path)
    for path in tree.ending(".h", ".cc", ".py", ".sh", ".yaml", ".txt"):
        if path.startswith("tests/style/"):
            continue
        for found in _DOCS_MENTION.finditer(tree.text(path)):
            if not _PLACEHOLDER.search(found.group(0)) and missing(tree, "", found.group(0)):
                line = style_check.line_of(tree.text(path), found.start())
                problems.append(f"{path}:{line}: '{found.group(0)}' does not exist")
    return problems


GOOD = {
    "README.md": "# Top\n[glossary](docs/glossary.md) [part](docs/glossary.md#letters-and-digits) [here](#top)\n"
    "`src/core/a.{h,cc}` `src/*/a.h` `src/core/a.h:12` `build/x/bin` `docs/<name>.md` `kernels/api/OP.h`\n"
    "[far](https://example.org/x)\n```\nlaunch/build.sh release\n```\n",
    "docs/glossary.md": "# Glossary\n## Letters, and digits\n[up](../README.md)\n",
    "src/core/a.h": "// docs/glossary.md#glossary\n",
    "src/core/a.cc": "",
    "launch/build.sh": "",
}
BAD = [
    ({"README.md": "[x](docs/none.md)\n"}, "README.md:1: 'docs/none.md'"),
    ({"README.md": "one\n`src/none.cc`\n"}, "README.md:2: 'src/none.cc'"),
    ({"README.md": "`src/a.{h,cc}`\n", "src/a.h": ""}, "'src/a.{h,cc}'"),
    ({"README.md": "`src/*/a.cc`\n", "src/a.h": ""}, "'src/*/a.cc'"),
    ({"README.md": "```\nlaunch/none.sh ci\n```\n"}, "README.md:2: 'launch/none.sh'"),
    ({"README.md": "# A\n[x](#b)\n"}, "'#b'"),
    ({"README.md": "[x](docs/a.md#b)\n", "docs/a.md": "# A\n"}, "'docs/a.md#b'"),
    ({"docs/a.md": "[x](b.md)\n", "b.md": ""}, "docs/a.md:1: 'b.md'"),
    ({"src/core/a.h": "// see docs/none.md\n"}, "src/core/a.h:1: 'docs/none.md'"),
]

if __name__ == "__main__":
    sys.exit(style_check.main(sys.modules[__name__]))
