"""launch/get_text.py on the user's own text: what is damaged, truncated, or not what its name says.

    get_text_test.py
"""

import gzip
import lzma
import os
import subprocess
import sys
import tempfile
import unittest

PARAGRAPHS = "Käse und Brot\n\nzweiter\n\ndritter mit \ufffd\n"


class GetText(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="sluice_test_")
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name

    def run_on(self, name, content):
        """(exit code, what it complained of, the text it made) of a file of that name."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        out = os.path.join(self.folder, name + "_out")
        done = subprocess.run([sys.executable, "-B", "launch/get_text.py", "--out", out, "--text", path], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, check=False)
        made = ""
        for part in sorted(os.listdir(out) if os.path.isdir(out) else []):
            with open(os.path.join(out, part), encoding="utf-8") as file:
                made += file.read()
        return done.returncode, done.stderr, made

    def test_what_is_whole_is_silent(self):
        for name, content in (("a.txt", PARAGRAPHS.encode()), ("a.xz", lzma.compress(PARAGRAPHS.encode())),
                              ("a.gz", gzip.compress(PARAGRAPHS.encode()))):
            code, complaint, made = self.run_on(name, content)
            self.assertEqual((code, complaint), (0, ""))
            self.assertEqual(sorted(made.split("\n")), sorted([*PARAGRAPHS.split("\n\n")[:2], "dritter mit \ufffd", ""]), made)

    def test_other_encodings_are_told(self):
        code, complaint, made = self.run_on("latin.txt", "K\xe4se\n\nzwei\n\n\xfcber".encode("latin-1"))
        self.assertEqual(code, 0)
        self.assertIn("latin.txt is not UTF-8: 2 lines have bytes that were replaced", complaint)
        self.assertIn("K\ufffdse", made)

    def test_broken_archives_leave_nothing(self):
        text = os.urandom(1 << 16).hex().encode() + b"\n\nzwei\n\ndrei\n"
        for name, content in (("cut.xz", lzma.compress(text)[:20000]), ("cut.gz", gzip.compress(text)[:20000]), ("no.gz", b"text"), ("no.xz", b"text")):
            code, complaint, made = self.run_on(name, content)
            self.assertEqual((code, made), (1, ""), name)
            self.assertIn(f"{name} is truncated, or not what its name says", complaint)
            self.assertNotIn("Traceback", complaint)


if __name__ == "__main__":
    unittest.main()
