"""The page of `sluice report` in a real browser: it loads without a complaint and without a request, hides runs, shows values,
copies tables, fits on a phone, prints, and has a dark side. Needs Debian's package `chromium`.

    browser_test.py SLUICE [FOLDER]     FOLDER: keeps the page, its pictures and the print there, to be looked at
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import made_up_runs
from browser import BROWSER, Browser

SLUICE = os.path.abspath(sys.argv[1])
STEPS, STRIDE = 100_000, 250
POINTED = STRIDE + (STEPS - STRIDE) * (400 - 52) / (402 - 52)  # the step at pixel 400; steps lie between pixels 52 and 402

# What a person would do, and what they would see of it; runs in the page.
VISIT = r"""
(async () => {
const found = {};
const text = element => element.textContent;
const shown = element => getComputedStyle(element).display !== 'none';
const luminance = colour => colour.match(/[\d.]+/g).slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const page = luminance(getComputedStyle(document.body).backgroundColor);
found.pageLuminance = page;
found.contrasts = [...document.querySelectorAll('.runs .sample')].map(
  sample => contrast(page, luminance(getComputedStyle(sample).color)));
found.textContrast = contrast(page, luminance(getComputedStyle(document.querySelector('code')).color));
found.overflow = document.documentElement.scrollWidth - innerWidth;
found.wide = [...document.querySelectorAll('main *')].filter(element => !element.closest('.scroll') && !element.closest('svg')
  && element.getBoundingClientRect().right > innerWidth + 1).map(element => element.outerHTML.slice(0, 200));
const textHeights = [], overlaps = [], cut = [];
for (const picture of document.querySelectorAll('svg.chart, svg.map, svg.histograms')) {
  const frame = picture.getBoundingClientRect(), boxes = [];
  for (const label of picture.querySelectorAll('text')) {
    const box = label.getBoundingClientRect();
    textHeights.push(parseFloat(getComputedStyle(label).fontSize) * frame.width / picture.viewBox.baseVal.width);
    for (const other of boxes) {
      if (box.left < other.box.right - 1 && other.box.left < box.right - 1 && box.top < other.box.bottom - 3 && other.box.top < box.bottom - 3) {
        overlaps.push(`${picture.id || picture.className.baseVal}: ${text(label)} over ${text(other.label)}`);
      }
    }
    if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.bottom > frame.bottom + 2) {
      cut.push(`${picture.id || picture.className.baseVal}: ${text(label)}`);
    }
    boxes.push({box, label});
  }
}
Object.assign(found, {leastText: Math.min(...textHeights), overlaps, cut});
const tip = document.getElementById('tip');
const until = async condition => {
  for (let i = 0; i < 400 && !condition(); ++i) await new Promise(done => setTimeout(done, 25));
};
const chart = document.getElementById('training-0');
chart.scrollIntoView();
const box = chart.getBoundingClientRect();
const point = (target, x, y) => target.dispatchEvent(new PointerEvent('pointermove', {clientX: x, clientY: y, bubbles: true}));
const tap = (target, x, y) => {
  for (const name of ['pointerdown', 'pointerup', 'pointerleave']) {
    target.dispatchEvent(new PointerEvent(name, {clientX: x, clientY: y, bubbles: name !== 'pointerleave', pointerType: 'touch'}));
  }
};
point(chart, box.left + box.width * 400 / 420, box.top + box.height / 2);
found.tip = [...tip.children].map(text);
chart.dispatchEvent(new PointerEvent('pointerleave'));
found.tipHidden = tip.hidden;
tap(chart, box.left + box.width * 400 / 420, box.top + box.height / 2);
found.tapTip = [...tip.children].map(text);
found.tapShown = !tip.hidden;
tap(document.querySelector('h1'), 1, 1);
found.tapElsewhere = tip.hidden && !chart.querySelector('.cursor');
chart.focus();
found.focused = document.activeElement === chart;
for (let i = 0; i < 30; ++i) chart.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true}));
found.keyTip = [...tip.children].map(text);
chart.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
const map = document.querySelector('svg.map');
map.scrollIntoView();
const at = map.getBoundingClientRect();
point(map, at.left + at.width * 60 / 420, at.top + at.height * 10 / map.viewBox.baseVal.height);
await until(() => /^head/.test(text(tip)));
found.mapTip = text(tip);
const picture = document.querySelector('.pixels');
picture.scrollIntoView();
await picture.decode();
const corner = picture.getBoundingClientRect();
point(picture, corner.left + 3, corner.top + 3);
await until(() => /query/.test(text(tip)));
found.pictureTip = [...tip.children].map(text);
found.csv = sluiceReport.csvOf(document.getElementById('summary-table'));
const copy = document.querySelector('.copy');
found.copyShown = shown(copy);
copy.click();
await until(() => text(copy) !== 'Copy as CSV');
found.copySays = text(copy);
const columns = id => sluiceReport.csvOf(document.getElementById(id)).split('\r\n')[0].split(',').length;
found.columns = ['configuration-table', 'tensors-max_abs'].map(columns);
document.getElementById('run0').click();
found.hidden = [...document.querySelectorAll('.r0')].filter(shown).length;
found.others = [...document.querySelectorAll('.r1')].filter(shown).length;
point(chart, box.left + box.width / 2, box.top + box.height / 2);
found.tipOfThree = tip.children.length;
found.csvOfThree = sluiceReport.csvOf(document.getElementById('summary-table')).split('\r\n').length;
found.columnsOfThree = ['configuration-table', 'tensors-max_abs'].map(columns);
document.getElementById('run3').click();
found.columnsOfTwo = ['configuration-table', 'tensors-max_abs'].map(columns);
document.getElementById('run3').click();
document.querySelector('.none').click();
found.none = document.querySelectorAll('.runs input:checked').length;
document.querySelector('.all').click();
found.all = document.querySelectorAll('.runs input:checked').length;
return found;
})()
"""


@unittest.skipIf(BROWSER is None, "no chromium")
class ReportInABrowser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice_test_"))
        cls.addClassCleanup(cls.clean_up)
        runs = made_up_runs.write_runs(cls.folder / "runs", steps=STEPS, stride=STRIDE)
        cls.page = cls.folder / "report.html"
        subprocess.run([SLUICE, "report", *runs, "--out", cls.page], check=True, stdout=subprocess.DEVNULL, timeout=120)
        cls.browser = cls.enterClassContext(Browser(BROWSER, cls.folder))
        cls.desktop, cls.phone, cls.dark = cls.visit(1280, 900), cls.visit(390, 844), cls.visit(1280, 900, dark=True)

    @classmethod
    def clean_up(cls):
        if len(sys.argv) > 2:
            shutil.copytree(cls.folder, sys.argv[2], dirs_exist_ok=True, ignore=shutil.ignore_patterns("profile"))
        shutil.rmtree(cls.folder)

    @classmethod
    def visit(cls, width, height, dark=False):
        """What the visitor found, what was asked for, and what the console said."""
        cls.browser.open(cls.page, width, height, dark)
        found = cls.browser.evaluate(VISIT)
        return found | {"requests": cls.browser.requests(), "complaints": cls.browser.complaints()}

    def test_nothing_is_asked_for_but_the_page_and_nothing_complains(self):
        for found in (self.desktop, self.phone, self.dark):
            self.assertEqual([url for url in found["requests"] if not url.startswith("data:")], [self.page.as_uri()])
            self.assertEqual(found["complaints"], [])

    def test_the_page_may_ask_for_nothing(self):
        self.browser.open(self.page, 1280, 900)
        refused = self.browser.evaluate("fetch('http://127.0.0.1:9/').then(() => 'came', error => error.name)")
        self.assertEqual(refused, "TypeError")
        self.assertIn("Content Security Policy", str(self.browser.complaints()))

    def test_fits_and_can_be_read(self):
        for name, found in (("desktop", self.desktop), ("phone", self.phone)):
            with self.subTest(name):
                self.assertLessEqual(found["overflow"], 0)
                self.assertEqual(found["wide"], [])
                self.assertGreaterEqual(found["leastText"], 8.5)
                self.assertEqual(found["overlaps"], [])
                self.assertEqual(found["cut"], [])

    def test_light_and_dark_have_contrast(self):
        self.assertGreater(self.desktop["pageLuminance"], 0.9)
        self.assertLess(self.dark["pageLuminance"], 0.02)
        for found in (self.desktop, self.dark):
            self.assertGreaterEqual(min(found["contrasts"]), 3)
            self.assertGreaterEqual(found["textContrast"], 4.5)

    def test_values_are_shown_where_one_points(self):
        tip = self.desktop["tip"]
        self.assertEqual(tip[0].split()[0], "step")
        self.assertAlmostEqual(int(tip[0].split()[1]), POINTED, delta=1)
        self.assertEqual(sorted(line.split()[1] for line in tip[1:]),
                         ["vanilla_seed_1", "vanilla_seed_2", "vga_seed_1", "vga_seed_2"])
        for line in tip[1:]:  # 2.5 + 5 exp(-4 · POINTED / STEPS), to the picture's tenth of a pixel
            self.assertAlmostEqual(float(line.split()[0]), 2.6, delta=0.05)
        self.assertTrue(self.desktop["tipHidden"])
        self.assertTrue(self.desktop["tapShown"])  # when the finger has left again
        self.assertEqual(self.desktop["tapTip"], self.desktop["tip"])
        self.assertTrue(self.desktop["tapElsewhere"])
        self.assertRegex(self.desktop["mapTip"], r"^head 0\.0, step \d+: 0\.\d{3}$")
        self.assertEqual(self.desktop["pictureTip"], ["head 0.0", "query 0 [CLS]", "key 0 [CLS]", "1.000"])

    def test_keys_move_through_a_chart(self):
        self.assertTrue(self.desktop["focused"])
        self.assertAlmostEqual(int(self.desktop["keyTip"][0].split()[1]), POINTED - 30 / 60 * (STEPS - STRIDE), delta=1)

    def test_runs_can_be_hidden(self):
        self.assertEqual(self.desktop["hidden"], 0)
        self.assertGreater(self.desktop["others"], 20)
        self.assertEqual(self.desktop["tipOfThree"], 1 + 3)
        self.assertEqual((self.desktop["none"], self.desktop["all"]), (0, 4))
        configuration, tensors = self.desktop["columns"]
        self.assertEqual(self.desktop["columnsOfThree"], [configuration - 1, tensors - 1])
        self.assertEqual(self.desktop["columnsOfTwo"], [configuration - 2, tensors - 2])

    def test_tables_copy_as_csv(self):
        rows = self.desktop["csv"].split("\r\n")
        self.assertTrue(rows[0].startswith('run,variant,seed,steps,"perplexity, data/valid","perplexity, data/<books> & more",'))
        self.assertTrue(rows[1].startswith(f"vanilla_seed_1,vanilla,1,{STEPS},"))
        self.assertEqual(len(rows), 1 + 6 + 1)
        self.assertEqual(self.desktop["csvOfThree"], len(rows) - 1)
        self.assertTrue(self.desktop["copyShown"])
        self.assertIn(self.desktop["copySays"], ("Copied", "Select the table to copy it"))

    def test_pictures_and_print_come_out(self):
        for name, width, dark in (("desktop", 1280, False), ("phone", 390, False), ("dark", 1280, True)):
            self.browser.open(self.page, width, 900, dark)
            self.browser.screenshot(self.folder / f"{name}.png")
            png = (self.folder / f"{name}.png").read_bytes()
            self.assertEqual(int.from_bytes(png[16:20], "big"), width)
            self.assertGreater(int.from_bytes(png[20:24], "big"), 3000)
            self.assertGreater(len(png), 100_000)  # an empty one has a twentieth
        self.browser.pdf(self.folder / "report.pdf")
        pages = len(re.findall(rb"/Type\s*/Page\b", (self.folder / "report.pdf").read_bytes()))
        self.assertGreaterEqual(pages, 4)
        self.assertLessEqual(pages, 25)

    def test_the_page_is_whole_without_scripts(self):
        self.browser.call("Emulation.setScriptExecutionDisabled", value=True)
        self.addCleanup(self.browser.call, "Emulation.setScriptExecutionDisabled", value=False)
        self.browser.open(self.page, 1280, 900)
        lines = "[...document.querySelectorAll('.r1 .line')].filter(line => line.getBoundingClientRect().width > 0).length"
        self.assertGreater(self.browser.evaluate(lines), 20)
        self.assertEqual(self.browser.evaluate("getComputedStyle(document.querySelector('.copy')).display"), "none")
        self.browser.evaluate("document.getElementById('run1').click()")
        self.assertEqual(self.browser.evaluate(lines), 0)


if __name__ == "__main__":
    if BROWSER is None:
        print("SKIPPED: no chromium (Debian's package `chromium`)")
    unittest.main(argv=sys.argv[:1])
