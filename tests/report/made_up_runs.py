"""Run folders with every kind of record that a report shows, made up: for the tests, and to look at.

    made_up_runs.py FOLDER [STEPS [RUNS [STRIDE]]]
"""

import json
import math
import pathlib
import random
import sys

LAYERS, HEADS = 3, 4
SEQUENCES = (0, 40)  # that attention maps are of
TOKENS = ["[CLS]", "the", "river", "<b>&", '"gate"', "opens", "slowly", ".", "[SEP]"]

CONFIG = """name: {name}
model:
  architecture: opt
  num_hidden_layers: {layers}
  attention:
    variant: {variant}
{gate}    register_tokens: 0
data:
  train: data/train
  validation: [data/valid]
training:
  steps: {steps}
  seed: {seed}
"""
GATE = "    gate:\n      source: value\n      site: query\n"


def heads(of):
    return {f"layer_{layer}.": [of(layer, head) for head in range(HEADS)] for layer in range(LAYERS)}


class Run:
    """One run; `gated` keeps sink and outliers small."""

    def __init__(self, folder, gated, seed, steps, stride):
        self.folder, self.gated, self.seed, self.steps, self.stride = pathlib.Path(folder), gated, seed, steps, stride
        self.random = random.Random(f"{gated} {seed}")
        self.lines = []

    def noise(self, scale=0.05):
        return 1 + self.random.gauss(0, scale)

    def add(self, event, step, **fields):
        self.lines.append(json.dumps({"event": event, "step": step, **fields}))

    def train(self, step):
        self.add("train", step, loss=2.5 + 5 * math.exp(-4 * step / self.steps) * self.noise(),
                 learning_rate=1e-3 * min(step / (0.1 * self.steps), 1), gradient_norm=2 * self.noise(0.3),
                 tokens_per_s=60000 * self.noise(), **({"gate_mean": 0.3} if self.gated else {}))

    def attention(self, step):
        grown = 1 - math.exp(-6 * step / self.steps)
        mass = {key: [(0.03 if self.gated else 0.8) * grown * (1 + h) / HEADS for h in range(HEADS)] for key in heads(lambda *_: 0)}
        fields = {}
        for layer, masses in mass.items():
            fields |= {layer + "mass_on_first": masses, layer + "mass_on_special": [1.1 * m for m in masses],
                       layer + "mass_on_strongest": [max(m, 0.1) for m in masses],
                       layer + "delta_logit": [12 * m - 0.5 for m in masses], layer + "entropy": [3 * (1 - m) for m in masses],
                       layer + "value_norm_ratio": [1 - m for m in masses]}
        self.add("attention", step, **fields)

    def gates(self, step):
        fields = {}
        for layer in range(LAYERS):
            mean = [1 / (1 + math.exp(step / self.steps * 3 * (h - 1) - layer * 0.3)) for h in range(HEADS)]
            fields |= {f"layer_{layer}.mean": mean, f"layer_{layer}.variance": [m * (1 - m) / 4 for m in mean],
                       f"layer_{layer}.share_below": [max(0, 0.5 - m) for m in mean],
                       f"layer_{layer}.share_above": [max(0, m - 0.5) for m in mean],
                       f"layer_{layer}.entropy": [4 * m * (1 - m) * math.log(2) for m in mean]}
        self.add("gates", step, **fields)

    def activations(self, step):
        grown = step / self.steps * (10 if self.gated else 100)
        fields = {}
        for layer in range(LAYERS):
            for tensor in ("attention.residual_sum", "feed_forward.output", "feed_forward.residual_sum"):
                fields |= {f"layer_{layer}.{tensor}.max_abs": 3 + grown * (layer + 1) / LAYERS,
                           f"layer_{layer}.{tensor}.kurtosis_per_sequence": 3 + grown ** 1.4,
                           f"layer_{layer}.{tensor}.kurtosis_per_token": 3 + grown,
                           f"layer_{layer}.{tensor}.top_channel_share": 0.05 + grown / 200}
        self.add("activations", step, **{"embedding.embedding.sum.max_abs": 0.4}, **fields)

    def norms(self, step):
        names = ["decoder.embed_tokens.weight"] + [f"decoder.layers.{i}.fc1.weight" for i in range(LAYERS)]
        self.add("norms", step, **{f"{kind}.{name}": size * self.noise(0.2)
                                   for kind, size in (("gradient", 0.5), ("update", 0.01), ("weight", 20)) for name in names})

    def evaluations(self, step):
        perplexity = 15 + 2000 * math.exp(-8 * step / self.steps) * self.noise()
        gap = (0.2 if self.gated else 40) * step / self.steps
        for data in ("data/valid", "data/<books> & more"):
            self.add("evaluation", step, data=data, perplexity=perplexity, loss=math.log(perplexity))
        self.add("quantization", step, data="data/valid", perplexity=perplexity, quantized_perplexity=perplexity + gap, gap=gap)

    def maps(self):
        size, layers = len(TOKENS), []
        for _ in range(LAYERS):
            layers.append([])
            for head in range(HEADS):
                rows = []
                for i in range(size):
                    row = [self.random.random() if j <= i else 0 for j in range(size)]
                    row[0] += 0 if self.gated else 4 * head
                    rows.append([round(p / sum(row), 4) for p in row])
                layers[-1].append(rows)
        folder = self.folder / "attention_maps"
        folder.mkdir(exist_ok=True)
        content = {"step": self.steps, "sequences": [{"index": index, "tokens": TOKENS, "layers": layers} for index in SEQUENCES]}
        (folder / f"step_{self.steps:08}.json").write_text(json.dumps(content))

    def results(self):
        outliers = {"metrics": {"average_kurtosis_all_tensors_mixed_rows": 12 if self.gated else 400,
                                "max_inf_norm_feed_forward_output_per_token": 9 if self.gated else 80}}
        before = {"perplexity": 16.5 + self.seed, "outliers": outliers}
        after = [{"perplexity": 16.75 + 2 * self.seed, "weight_bits": 8, "activation_bits": 8},
                 {"perplexity": 90, "weight_bits": 4, "activation_bits": 4}]
        (self.folder / "evaluate.json").write_text(json.dumps({"step": self.steps, "data": "data/valid"} | before) + "\n")
        (self.folder / "quantize.json").write_text(
            json.dumps({"step": self.steps, "data": "data/valid", "fp32": before, "quantized": after}) + "\n")

    def write(self):
        self.folder.mkdir(parents=True)
        (self.folder / "config.yaml").write_text(CONFIG.format(
            name=self.folder.name.split("<")[0], layers=LAYERS, variant="gated" if self.gated else "vanilla",
            gate=GATE if self.gated else "", steps=self.steps, seed=self.seed))
        every = self.stride * max(1, self.steps // self.stride // 100)
        for step in range(self.stride, self.steps + 1, self.stride):
            self.train(step)
            if step % every == 0:
                self.attention(step)
                self.activations(step)
                self.norms(step)
                if self.gated:
                    self.gates(step)
            if step % (10 * every) == 0:
                self.evaluations(step)
        if not self.gated:
            for step in (self.steps // 2, self.steps):
                self.add("alarm", step, name="sink_share", where="layer_1.head_3", value=0.8 * step / self.steps, threshold=0.3)
        (self.folder / "metrics.jsonl").write_text("\n".join(self.lines) + "\n")
        self.maps()
        self.results()
        return str(self.folder)


def write_runs(folder, steps=400, runs=4, stride=1):
    """The folders of `runs` runs, vanilla and gated in turn, two seeds of each before a third; a record every `stride` steps."""
    made = []
    for i in range(runs):
        gated, seed = bool(i % 2), i // 2 + 1
        made.append(Run(f"{folder}/{'vga' if gated else 'vanilla'}_seed_{seed}", gated, seed, steps, stride).write())
    return made


if __name__ == "__main__":
    print("\n".join(write_runs(sys.argv[1], *map(int, sys.argv[2:]))))
