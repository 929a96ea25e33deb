#include "report/page_style.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

// The eight colours are told apart with each of the usual colour blindnesses, and by lightness;
// each has at least 3 : 1 to its page. Dashes and markers tell runs apart without them.
constexpr char kColours[] = R"css(
:root{color-scheme:light dark;--page:#fff;--text:#1b1f24;--quiet:#57606a;--rule:#d0d7de;--panel:#f6f8fa;
--k0:#0063b2;--k1:#c84e00;--k2:#00795b;--k3:#a8418c;--k4:#8a6500;--k5:#2b8fd0;--k6:#5c5f66;--k7:#6b48c8}
@media (prefers-color-scheme:dark){:root{--page:#14171c;--text:#e6e9ed;--quiet:#a3adb9;--rule:#3a424d;--panel:#1d2229;
--k0:#5fb0f2;--k1:#ff9150;--k2:#35c99a;--k3:#ee92d2;--k4:#e5bb45;--k5:#93d7ff;--k6:#b9bec7;--k7:#b7a0ff}}
@media print{:root{color-scheme:light;--page:#fff;--text:#000;--quiet:#444;--rule:#bbb;--panel:#fff;
--k0:#0063b2;--k1:#c84e00;--k2:#00795b;--k3:#a8418c;--k4:#8a6500;--k5:#2b8fd0;--k6:#5c5f66;--k7:#6b48c8}}
)css";

constexpr char kLayout[] = R"css(
*{box-sizing:border-box}
body{margin:0 auto;max-width:90rem;padding:0 1rem 3rem;background:var(--page);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:break-word}
h1{font-size:1.5rem;margin:1rem 0 .25rem}
h2{font-size:1.2rem;margin:2.2rem 0 .5rem;padding-top:.4rem;border-top:1px solid var(--rule)}
section:first-child h2{border-top:0;margin-top:.6rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0 .6rem}
a{color:inherit}
section{scroll-margin-top:5rem}
nav a{display:inline-block;margin-right:.9rem}
code{font-size:.85em;color:var(--quiet);overflow-wrap:anywhere}
.runs{position:sticky;top:0;z-index:2;background:var(--page);border:0;border-bottom:1px solid var(--rule);margin:.5rem 0 0;
padding:.4rem 0;display:flex;flex-wrap:wrap;gap:.1rem 1rem;min-width:0;max-height:25vh;overflow:auto}
.runs legend{float:left;margin:0 .8rem 0 0;padding:0;color:var(--quiet)}
.runs label{display:inline-flex;align-items:center;gap:.35rem;white-space:nowrap;cursor:pointer}
.runs button{font:inherit;padding:0 .6rem}
.sample{width:34px;height:12px;flex:none;vertical-align:middle;margin-right:.35rem}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1.2rem 1.6rem;align-items:start}
figure{margin:0;min-width:0}
figcaption{font-size:.87rem;line-height:1.35;margin-bottom:.25rem}
svg text{font-size:11.5px;fill:var(--quiet);font-family:inherit}
svg.chart,svg.map,svg.histograms{display:block;width:100%;height:auto}
svg.chart:focus-visible{outline:2px solid var(--k0);outline-offset:2px}
.grid{stroke:var(--rule);fill:none;stroke-width:.8}
.line{fill:none;stroke:currentColor;stroke-width:1.6;stroke-linejoin:round}
.mark{fill:currentColor;stroke:none}
.bars{fill:var(--k0)}
.cursor{stroke:var(--quiet);stroke-width:.8;fill:none}
.d1{stroke-dasharray:7 2.5}.d2{stroke-dasharray:2 2}.d3{stroke-dasharray:7 2 2 2}.d4{stroke-dasharray:4 3}
image,.pixels,.bar img{image-rendering:pixelated}
svg.map image{outline:1px solid var(--rule)}
.bar img{width:6rem;height:.8rem;vertical-align:middle;border:1px solid var(--rule)}
.attentions{display:flex;flex-wrap:wrap;gap:.8rem}
.attention{width:8.5rem}
.pixels{display:block;width:100%;height:auto;border:1px solid var(--rule)}
.attention figcaption{margin:.15rem 0 0}
.attention figcaption span{color:var(--quiet)}
.tokens{font-size:.85rem}.tokens b{color:var(--quiet);font-weight:400;font-size:.8em}
.scroll{overflow-x:auto;max-width:100%;margin-top:.8rem}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--quiet);padding:.2rem 0}
th,td{padding:.25rem .7rem .25rem 0;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top;white-space:nowrap}
th{font-weight:600;vertical-align:bottom;white-space:normal;min-width:4.5rem;hyphens:auto}
.tools{margin:.3rem 0}
.copy,.all,.none{display:none}
.js .copy,.js .all,.js .none{display:inline-block;font:inherit;font-size:.85rem;color:inherit;background:var(--panel);
border:1px solid var(--rule);border-radius:4px;padding:.1rem .6rem;cursor:pointer}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--quiet)}
dt{font-weight:600}dd{margin:0 0 .4rem 1rem}
#tip{position:fixed;z-index:3;pointer-events:none;max-width:min(24rem,90vw);background:var(--panel);border:1px solid var(--rule);
border-radius:4px;padding:.3rem .5rem;font-size:.8rem;line-height:1.35;box-shadow:0 2px 8px #0003}
#tip[hidden]{display:none}
@media (max-width:40rem){body{padding:0 .6rem 2rem;font-size:14px}.runs{flex-wrap:nowrap;max-height:none}
.attention{width:calc(33.3% - .6rem)}nav a{padding:.2rem 0}}
@media print{body{max-width:none;padding:0;font-size:9.5pt}.runs{position:static;max-height:none;flex-wrap:wrap}
.js .copy,.js .all,.js .none,nav,#tip{display:none}.charts{grid-template-columns:1fr 1fr}
.scroll{overflow:visible}table{font-size:7.5pt}th,td{white-space:normal;padding-right:.4rem;min-width:0}
figure,tr{break-inside:avoid}h2,h3,main p,caption{break-after:avoid}.scroll{break-before:avoid}}
)css";

constexpr char kScript[] = R"js(
(() => {
'use strict';
document.documentElement.classList.add('js');
const tip = document.createElement('div');
tip.id = 'tip';
tip.hidden = true;
tip.setAttribute('role', 'status');
document.body.append(tip);

function show(lines, x, y) {
  tip.replaceChildren(...lines.map(([text, style]) => {
    const line = document.createElement('div');
    if (style !== undefined) line.className = 'c' + style % COLOURS;
    line.textContent = text;
    return line;
  }));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 4)) + 'px';
  tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 14) + 'px';
}
function hide() { tip.hidden = true; }
function digits(value) { return String(Number(value.toPrecision(3))); }

// Axes: pixels of the picture back to values.
function axis(text) {
  const [kind, ...numbers] = text.split(' ');
  const [low, high, begin, end] = numbers.map(Number);
  const there = {linear: v => v, logarithmic: Math.log10, step: v => Math.log10(v + 20)}[kind];
  const back = {linear: v => v, logarithmic: v => 10 ** v, step: v => 10 ** v - 20}[kind];
  return {begin, end, value: p => back(there(low) + (p - begin) / (end - begin) * (there(high) - there(low)))};
}
const read = new WeakMap();
function pointsOf(path) {
  if (!read.has(path)) {
    read.set(path, path.getAttribute('d').split(/[ML]/).slice(1).map(pair => pair.split(' ').map(Number)));
  }
  return read.get(path);
}
function nearest(points, x) {
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle; else high = middle;
  }
  return x - points[low][0] < points[high][0] - x ? points[low] : points[high];
}
function visible(element) { return getComputedStyle(element).display !== 'none'; }

function inspect(chart, x, clientX, clientY) {
  const across = axis(chart.dataset.x), up = axis(chart.dataset.y);
  x = Math.min(Math.max(x, across.begin), across.end);
  chart.at = x;
  const rows = [...chart.querySelectorAll('g[data-run]')].filter(visible).map(group => {
    const point = nearest(pointsOf(group.querySelector('.line')), x);
    return {value: up.value(point[1]), run: Number(group.dataset.run), name: group.querySelector('title').textContent};
  }).sort((a, b) => b.value - a.value);
  let cursor = chart.querySelector('.cursor');
  if (!cursor) {
    cursor = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    cursor.setAttribute('class', 'cursor');
    chart.append(cursor);
  }
  cursor.setAttribute('d', `M${x} ${up.end}V${up.begin}`);
  const lines = rows.slice(0, 24).map(row => [digits(row.value) + '  ' + row.name, row.run]);
  if (rows.length > 24) lines.push([`and ${rows.length - 24} more`]);
  show([['step ' + Math.round(across.value(x))], ...lines], clientX, clientY);
}
function leave(chart) {
  const cursor = chart.querySelector('.cursor');
  if (cursor) cursor.remove();
  hide();
}
// A finger that is lifted leaves, too; what it has shown stays until the next tap.
function point(element, at, away) {
  for (const name of ['pointerdown', 'pointermove']) element.addEventListener(name, at);
  element.addEventListener('pointerleave', event => { if (event.pointerType !== 'touch') away(); });
  document.addEventListener('pointerdown', event => { if (!element.contains(event.target)) away(); }, true);
}
for (const chart of document.querySelectorAll('svg.chart')) {
  point(chart, event => {
    const box = chart.getBoundingClientRect();
    inspect(chart, (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width, event.clientX, event.clientY);
  }, () => leave(chart));
  chart.addEventListener('blur', () => leave(chart));
  chart.addEventListener('keydown', event => {
    const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (event.key === 'Escape') leave(chart);
    if (!move) return;
    event.preventDefault();
    const across = axis(chart.dataset.x), box = chart.getBoundingClientRect();
    const x = (chart.at === undefined ? across.begin : chart.at) + move * (across.end - across.begin) / 60;
    inspect(chart, x, box.left + x / chart.viewBox.baseVal.width * box.width, box.top + box.height / 2);
  });
}

// Maps: the opacity of a pixel is the value.
const pixels = new Map();
async function cellOf(address, column, row) {
  if (!pixels.has(address)) {
    const picture = new Image();
    picture.src = address;
    await picture.decode();
    const canvas = document.createElement('canvas');
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.drawImage(picture, 0, 0);
    pixels.set(address, context.getImageData(0, 0, canvas.width, canvas.height));
  }
  const image = pixels.get(address);
  const at = (Math.min(row, image.height - 1) * image.width + Math.min(column, image.width - 1)) * 4;
  const [red, , blue, opacity] = image.data.slice(at, at + 4);
  return opacity > 0 && Math.abs(red - blue) < 20 ? NaN : opacity / 255;
}
function valueText(value) { return Number.isNaN(value) ? 'not recorded' : value.toFixed(3); }
for (const map of document.querySelectorAll('svg.map')) {
  point(map, async event => {
    const box = map.getBoundingClientRect(), view = map.viewBox.baseVal;
    const [left, top, width, height] = map.dataset.map.split(' ').map(Number);
    const x = ((event.clientX - box.left) / box.width * view.width - left) / width;
    const y = ((event.clientY - box.top) / box.height * view.height - top) / height;
    if (!(x >= 0 && x < 1 && y >= 0 && y < 1)) return hide();
    const rows = map.dataset.rows.split(' '), columns = map.dataset.columns.split(' ');
    const column = Math.floor(x * columns.length), row = Math.floor(y * rows.length);
    const value = await cellOf(map.querySelector('image').getAttribute('href'), column, row);
    show([[`head ${rows[row]}, step ${columns[column]}: ${valueText(value)}`]], event.clientX, event.clientY);
  }, hide);
}
for (const picture of document.querySelectorAll('.pixels')) {
  point(picture, async event => {
    const box = picture.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / box.width * picture.naturalWidth);
    const row = Math.floor((event.clientY - box.top) / box.height * picture.naturalHeight);
    const opacity = await cellOf(picture.getAttribute('src'), Math.max(column, 0), Math.max(row, 0));
    const tokens = JSON.parse(picture.closest('.attentions').dataset.tokens);
    const name = i => i + ' ' + (tokens[i] === undefined ? '' : tokens[i]);
    show([[`head ${picture.dataset.head}`], [`query ${name(row)}`], [`key ${name(column)}`],
      [valueText(opacity * opacity)]], event.clientX, event.clientY);
  }, hide);
}

// Tables as CSV (RFC 4180): what is visible, numbers with all digits.
function csvOf(table) {
  const quoted = text => /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  return [...table.rows].filter(visible).map(row => [...row.cells].filter(visible).map(cell =>
    quoted(cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v)).join(',')).join('\r\n') + '\r\n';
}
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
for (const button of document.querySelectorAll('.copy')) {
  button.addEventListener('click', async () => {
    const done = await copy(csvOf(document.getElementById(button.dataset.table)));
    button.textContent = done ? 'Copied' : 'Select the table to copy it';
    setTimeout(() => { button.textContent = 'Copy as CSV'; }, 2000);
  });
}
for (const [name, checked] of [['all', true], ['none', false]]) {
  document.querySelector('.runs .' + name).addEventListener('click', () => {
    for (const box of document.querySelectorAll('.runs input')) box.checked = checked;
  });
}
window.sluiceReport = {csvOf};
})();
)js";

}  // namespace

std::string PageStyle(int runs) {
  std::string style = absl::StrCat(kColours, kLayout);
  for (int colour = 0; colour < kChartColours; ++colour) {
    absl::StrAppendFormat(&style, ".c%d{color:var(--k%d)}", colour, colour);
  }
  style += '\n';
  for (int run = 0; run < runs; ++run) {
    absl::StrAppendFormat(&style, "body:has(#run%d:not(:checked)) .r%d{display:none}\n", run, run);
  }
  return style;
}

const char* PageScript() { return kScript; }

}  // namespace sluice
