"""The page of `sluice report` as text, without a browser: well-formed, nothing from outside, whole for who cannot see pictures.

    page_test.py SLUICE
"""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import made_up_runs

SLUICE = os.path.abspath(sys.argv[1])


def report(*arguments):
    return subprocess.run([SLUICE, "report", *map(str, arguments)], capture_output=True, text=True, timeout=120)


def parsed(page):
    """The page as a tree. What scripts and style sheets hold is no markup, and left out."""
    for name in ("script", "style"):
        page = re.sub(f"<{name}>.*?</{name}>", "", page, flags=re.DOTALL)
    return xml.etree.ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice_test_"))
        cls.runs = made_up_runs.write_runs(cls.folder, steps=200)
        os.rename(cls.runs[3], cls.folder / '<i>&"\'x')
        cls.runs[3] = str(cls.folder / '<i>&"\'x')
        with open(cls.runs[0] + "/metrics.jsonl", "a", encoding="utf-8") as file:
            file.write('{"event":"train","st')
        done = report(*cls.runs, "--out", cls.folder / "report.html")
        assert done.returncode == 0, done.stderr
        cls.output = done.stdout
        cls.text = (cls.folder / "report.html").read_text(encoding="utf-8")
        cls.page = parsed(cls.text)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_says_what_it_did(self):
        self.assertIn("report.html shows 4 runs", self.output)
        self.assertIn("the last line is torn", self.output)

    def test_has_every_section(self):
        sections = [section.get("id") for section in self.page.iter("section")]
        self.assertEqual(sections, [
            "summary", "notes", "training", "sink", "outliers", "gap", "norms", "quantization", "tensors", "gates", "sink-maps",
            "attention-maps", "alarms", "configuration"])

    def test_ids_are_unique_and_references_lead_somewhere(self):
        ids = collections.Counter(element.get("id") for element in self.page.iter() if element.get("id"))
        self.assertEqual([name for name, count in ids.items() if count > 1], [])
        for element in self.page.iter():
            for attribute in ("aria-labelledby", "aria-describedby", "data-table"):
                for name in (element.get(attribute) or "").split():
                    self.assertIn(name, ids)
            if element.tag == "a":
                self.assertIn(element.get("href")[1:], ids)

    def test_pictures_have_words(self):
        for picture in self.page.iter("svg"):
            if picture.get("aria-hidden") != "true":
                self.assertEqual(picture.get("role"), "img")
                self.assertTrue(picture.get("aria-label") or picture.get("aria-labelledby"))
        for picture in self.page.iter("img"):
            self.assertTrue(picture.get("alt"))
        described = next(picture for picture in self.page.iter("svg") if picture.get("id") == "training-0")
        self.assertRegex(described.find("desc").text, r"vanilla_seed_1: [\d.]+ at step 1, [\d.]+ at step 200; ")

    def test_nothing_comes_from_outside(self):
        for element in self.page.iter():
            for attribute in ("src", "href"):
                self.assertRegex(element.get(attribute) or "#", r"^(#|data:image/png;base64,)")
        self.assertNotIn("link", {element.tag for element in self.page.iter()})

    def test_names_are_text(self):
        labels = ["".join(label.itertext()).strip() for label in self.page.iter("label")]
        self.assertEqual(labels[3], '<i>&"\'x')
        self.assertNotIn("<i>", self.text)

    def test_summary_has_the_mean_of_two_seeds(self):
        table = next(table for table in self.page.iter("table") if table.get("id") == "summary-table")
        rows = [["".join(cell.itertext()).strip() for cell in row] for row in table.iter("tr")]
        column = {name: i for i, name in enumerate(rows[0])}
        self.assertEqual([row[column["variant"]] for row in rows[1:]], ["vanilla", "vga", "vanilla", "vga", "vanilla", "vga"])
        # evaluate.json has 16.5 + seed; quantize.json 0.25 + seed more.
        self.assertEqual([row[column["perplexity, data/valid"]] for row in rows[1:]],
                         ["17.5", "17.5", "18.5", "18.5", "18 ± 0.71", "18 ± 0.71"])
        self.assertEqual(rows[1][column["gap"]], "1.25")
        self.assertEqual(rows[2][column["max I+O norm"]], "9")
        self.assertEqual(rows[5][column["seed"]], "1, 2")

    def test_attention_maps_of_every_sequence(self):
        section = next(section for section in self.page.iter("section") if section.get("id") == "attention-maps")
        texts = [text.text for text in section.iter("p")]
        for index in made_up_runs.SEQUENCES:
            self.assertEqual(texts.count(f"Step 200, sequence {index} of the data."), 4)
        maps = [picture.get("alt") for picture in section.iter("img")]
        self.assertEqual(len(maps), 4 * len(made_up_runs.SEQUENCES) * made_up_runs.LAYERS * made_up_runs.HEADS)
        self.assertEqual(sum(text.startswith("attention of head 1.1 in sequence 40, ") for text in maps), 4)

    def test_more_sequences_than_have_room(self):
        run = self.folder / "many"
        (run / "attention_maps").mkdir(parents=True)
        (run / "metrics.jsonl").write_text('{"event":"train","step":3,"loss":1}\n')
        for heads, shown in ((1, 192), (2, 96), (9, 48)):
            sequence = {"tokens": ["a"], "layers": [[[[1]]] * heads]}
            (run / "attention_maps" / "step_00000003.json").write_text(json.dumps({"step": 3, "sequences": [sequence] * 200}))
            self.assertEqual(report(run, "--out", self.folder / "many.html").returncode, 0)
            page = (self.folder / "many.html").read_text(encoding="utf-8")
            self.assertIn(f"<p>{shown} of 200 sequences.</p>", page)
            self.assertEqual(page.count('class="pixels"'), 192)
            self.assertIn(f"sequence {shown - 1} of the data", page)

    def test_only_what_differs_in_the_configurations(self):
        table = next(table for table in self.page.iter("table") if table.get("id") == "configuration-table")
        keys = ["".join(row[0].itertext()) for row in table.iter("tr")][1:]
        self.assertEqual(set(keys), {"name", "model.attention.variant", "model.attention.gate.source",
                                     "model.attention.gate.site", "training.seed"})

    def test_one_run_is_enough(self):
        out = self.folder / "one.html"
        self.assertEqual(report(self.runs[0], "--out", out).returncode, 0)
        self.assertEqual(len(list(parsed(out.read_text(encoding="utf-8")).iter("label"))), 1)

    def test_folders_that_are_no_runs_end_with_2_and_leave_the_page_alone(self):
        out = self.folder / "kept.html"
        out.write_text("kept")
        (self.folder / "empty").mkdir(exist_ok=True)
        for folder in ("empty", "absent"):
            done = report(self.runs[0], self.folder / folder, "--out", out)
            self.assertEqual(done.returncode, 2)
            self.assertIn(str(self.folder / folder), done.stderr)
        self.assertEqual(out.read_text(), "kept")

    def test_a_run_of_another_shape_stands_beside_the_others(self):
        other = self.folder / "other"
        other.mkdir()
        (other / "metrics.jsonl").write_text(
            '{"event":"train","step":10,"loss":"nan"}\n{"event":"train","step":20,"loss":"inf"}\n'
            '{"event":"gates","step":7,"layer_0.mean":[0.5]}\n{"event":"gates","step":9,"layer_0.mean":["nan"],"layer_1.mean":[]}\n')
        done = report(self.runs[1], other, "--out", self.folder / "two.html")
        self.assertEqual(done.returncode, 0, done.stderr)
        parsed((self.folder / "two.html").read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
