#!/usr/bin/env python3
"""Writes train.txt and validation.txt for a first training: UTF-8, one paragraph a line, a blank
line between documents.

    launch/get_text.py --out FOLDER                    the PostgreSQL 15 manual, from Debian's package
    launch/get_text.py --out FOLDER --text FILE…       your own text, in the same form (.gz, .xz too)
    launch/get_text.py … --validation FILE…            with --text: what is held out, instead of a part of it
    launch/get_text.py … --key                         only prints what the text depends on

The manual is about 4 MB of plain technical English (PostgreSQL licence), a download of 2 MB, and small
enough that a small model sees it several times in a few minutes. One document in 20 is held out,
chosen by a hash of its name or number, so the split is the same everywhere. Text of fewer than 20
documents is split by paragraphs instead: the last 5 % are held out. Python's standard library only.
"""

import argparse
import gzip
import hashlib
import html.parser
import io
import itertools
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib

PACKAGE = "postgresql-doc-15"
# Pages of the manual that are lists, not prose.
SKIPPED_PAGES = re.compile(r"/(?:release|bookindex|biblio|index|legalnotice|errcodes|sql-keywords|features)[^/]*$")
HELD_OUT = 20  # one document in this many
FORMAT = 1  # rises when the same input would give other text


class Failure(Exception):
    """A sentence for the user."""


class ParagraphParser(html.parser.HTMLParser):
    """Collects the <p> elements of a page, without code blocks, tables, tables of contents and
    navigation."""

    SKIPPED_ELEMENTS = {"pre", "table", "script", "style", "head"}
    SKIPPED_CLASSES = {"navheader", "navfooter", "toc", "indexterm", "titlepage", "synopsis", "refnamediv"}
    VOID = {"br", "hr", "img", "meta", "link", "col", "input"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.paragraphs, self._parts, self._open, self._skipped_at = [], None, [], None

    def handle_starttag(self, tag, attributes):
        if tag in self.VOID:
            return
        self._open.append(tag)
        classes = set((dict(attributes).get("class") or "").split())
        if self._skipped_at is None and (tag in self.SKIPPED_ELEMENTS or classes & self.SKIPPED_CLASSES):
            self._skipped_at = len(self._open)
        if tag == "p" and self._skipped_at is None:
            self.finish()
            self._parts = []

    def handle_endtag(self, tag):
        if tag not in self._open:
            return
        while self._open:
            if self._skipped_at == len(self._open):
                self._skipped_at = None
            if self._open.pop() == tag:
                break
        if tag == "p":
            self.finish()

    def handle_data(self, data):
        if self._parts is not None and self._skipped_at is None:
            self._parts.append(data)

    def finish(self):
        """Ends the paragraph; keeps it when it is a sentence or more."""
        text = re.sub(r"\s+", " ", "".join(self._parts or ())).strip()
        self._parts = None
        if len(text.split()) >= 5 and text[-1] in ".:;?!)":
            self.paragraphs.append(text)


def paragraphs_of(page):
    parser = ParagraphParser()
    parser.feed(page)
    parser.close()
    parser.finish()
    return parser.paragraphs


def download(folder):
    """The path of the package, downloaded into `folder`."""

    def attempt():
        return subprocess.run(["apt-get", "-q", "download", PACKAGE], cwd=folder, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False)

    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Failure("this system has no apt-get; give your own text with --text FILE…")
    result = attempt()
    if result.returncode != 0 and os.geteuid() == 0:  # the package lists are old or not there
        subprocess.run(["apt-get", "-qq", "update"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        result = attempt()
    packages = [name for name in os.listdir(folder) if name.endswith(".deb")]
    if result.returncode != 0 or not packages:
        raise Failure(f"'apt-get download {PACKAGE}' failed: {result.stderr.strip()}\n"
                      "Run 'apt-get update' as root and try again, or give your own text with --text FILE…")
    return os.path.join(folder, packages[0])


def manual_documents():
    """[(name, paragraphs)] of the manual, by name."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # apt downloads as its own user
        package = download(folder)
        print(f"downloaded {os.path.basename(package)}")
        archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True,
                                 stdin=subprocess.DEVNULL, check=True).stdout
    documents = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".html") and not SKIPPED_PAGES.search(member.name):
                page = tar.extractfile(member).read().decode("utf-8", errors="replace")
                paragraphs = paragraphs_of(page)
                if len(paragraphs) >= 2:
                    documents.append((member.name, paragraphs))
    return sorted(documents)


def open_text(path):
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(os.path.splitext(path)[1], open)
    return opener(path, "rt", encoding="utf-8", errors="surrogateescape")


def lines_of(path):
    """Says at the end how many had bytes that are not UTF-8, which are replaced."""
    damaged = 0
    try:
        with open_text(path) as file:
            for line in file:
                try:
                    line.encode()
                except UnicodeEncodeError:
                    damaged += 1
                    line = line.encode(errors="surrogateescape").decode(errors="replace")
                yield line
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise Failure(f"{path} is truncated, or not what its name says: {error}") from error
    if damaged:
        print(f"get_text.py: warning: {path} is not UTF-8: {damaged} lines have bytes that were replaced; `iconv -t UTF-8` converts a file",
              file=sys.stderr)


def own_documents(paths):
    """Yields (number, paragraphs) of files in which blank lines separate documents."""
    numbers = itertools.count()
    for path in paths:
        paragraphs = []
        for line in lines_of(path):
            line = line.strip()
            if line:
                paragraphs.append(line)
            elif paragraphs:
                yield str(next(numbers)), paragraphs
                paragraphs = []
        if paragraphs:
            yield str(next(numbers)), paragraphs


def is_held_out(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % HELD_OUT == 0


class Output:
    """train.txt and validation.txt in a folder; they appear when both are complete, or not at all."""

    NAMES = ("train.txt", "validation.txt")

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.paths = [os.path.join(folder, name) for name in self.NAMES]
        self.files = [open(path + ".part", "w", encoding="utf-8") for path in self.paths]
        self.documents, self.paragraphs = [0, 0], [0, 0]

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        for file, path in zip(self.files, self.paths):
            file.close()
            if error is not None and os.path.exists(path + ".part"):
                os.remove(path + ".part")
        if error is None:
            self.finish()

    def add(self, which, paragraphs):
        if self.documents[which]:
            self.files[which].write("\n")
        self.files[which].write("\n".join(paragraphs) + "\n")
        self.documents[which] += 1
        self.paragraphs[which] += len(paragraphs)

    def finish(self):
        for which, path in enumerate(self.paths):
            os.replace(path + ".part", path)
            print(f"{path}: {self.documents[which]} documents, {self.paragraphs[which]} paragraphs, "
                  f"{os.path.getsize(path) / 1e6:.2f} MB")


def write_split(folder, documents):
    first = list(itertools.islice(documents, HELD_OUT))
    with Output(folder) as output:
        if len(first) < HELD_OUT:
            lines = [line for _, paragraphs in first for line in paragraphs]
            if len(lines) < 2:
                raise Failure("the text needs two paragraphs (lines) or more: one is held out for evaluation")
            held_out = max(1, len(lines) // HELD_OUT)
            output.add(0, lines[:-held_out])
            output.add(1, lines[-held_out:])
            return
        for name, paragraphs in itertools.chain(first, documents):
            output.add(1 if is_held_out(name) else 0, paragraphs)
        if not output.documents[1]:
            raise Failure("no document fell into the held-out part; add more text")


def write_given(folder, documents, held_out):
    """All of `documents` to train on, all of `held_out` to evaluate on."""
    with Output(folder) as output:
        for which, (source, what) in enumerate(((documents, "--text"), (held_out, "--validation"))):
            for _, paragraphs in source:
                output.add(which, paragraphs)
            if not output.documents[which]:
                raise Failure(f"there is no text in the files of {what}")


def key(paths, validation):
    """What the text depends on, as one line."""
    parts = [f"format {FORMAT}"]
    if not paths:
        parts.append(PACKAGE)  # not its version: text that is there stays
    for path in [*paths, *validation]:
        with open(path, "rb") as file:  # by content: a copy, or one that was only touched, is the same text
            parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    if validation:
        parts.append(f"the last {len(validation)} held out")
    return "; ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--text", nargs="+", default=[])
    parser.add_argument("--validation", nargs="+", default=[])
    parser.add_argument("--key", action="store_true")
    arguments = parser.parse_args()
    try:
        for path in [*arguments.text, *arguments.validation]:
            if not os.path.isfile(path):
                raise Failure(f"there is no file {path}")
        if arguments.validation and not arguments.text:
            raise Failure("--validation wants --text too: without, both are of the manual")
        if arguments.key:
            print(key(arguments.text, arguments.validation))
            return 0
        documents = own_documents(arguments.text) if arguments.text else iter(manual_documents())
        if arguments.validation:
            write_given(arguments.out, documents, own_documents(arguments.validation))
        else:
            write_split(arguments.out, documents)
        return 0
    except (Failure, OSError, subprocess.CalledProcessError) as error:
        print(f"get_text.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
