"""One training step of PyTorch and transformers, timed: what bench_vs_pytorch.sh and gpu_check.sh compare with.

Forward, loss, backward, clipping at 1.0, fused AdamW, on random tokens: the step that `sluice bench step` times, on the same
sizes. BERT computes vocabulary logits for its targets alone, as Sluice does. Prints one JSON object.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM, OPTConfig, OPTForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

HIDDEN, HEADS = 768, 12
MASKED_SHARE = 0.15


def attend_with_gate(layer, query, key, value, mask, **options):
    """Attention whose heads are scaled by a sigmoid of the query position's own values (VGA, query site)."""
    attended, weights = ALL_ATTENTION_FUNCTIONS["sdpa"](layer, query, key, value, mask, **options)
    values = value.transpose(1, 2).flatten(2)
    return attended * torch.sigmoid(layer.gate(values)).unsqueeze(3), weights


def add_gates(layers):
    for layer in layers:
        layer.gate = torch.nn.Linear(HIDDEN, HEADS, bias=False)


class BertStep:
    """Masked-language-model loss of BERT-base."""

    def __init__(self, arguments, attention):
        self.model = BertForMaskedLM(BertConfig(attn_implementation=attention))
        if arguments.attention == "vga":
            add_gates(block.attention.self for block in self.model.bert.encoder.layer)
        self.tokens = torch.randint(1000, 30000, (arguments.batch, arguments.length), device=arguments.device)
        in_a_row = max(1, round(MASKED_SHARE * arguments.length))
        places = torch.rand(arguments.batch, arguments.length, device=arguments.device).topk(in_a_row).indices
        rows = torch.arange(arguments.batch, device=arguments.device).unsqueeze(1) * arguments.length
        self.places = (rows + places).flatten()
        self.targets = self.tokens.flatten()[self.places].clone()

    def loss(self):
        states = self.model.bert(self.tokens).last_hidden_state.flatten(0, 1)
        return functional.cross_entropy(self.model.cls(states[self.places]).float(), self.targets)


class OptStep:
    """Next-token loss of OPT-125m; no dropout on its probabilities, as in its recipe."""

    def __init__(self, arguments, attention):
        self.model = OPTForCausalLM(OPTConfig(attention_dropout=0.0, attn_implementation=attention))
        if arguments.attention == "vga":
            add_gates(block.self_attn for block in self.model.model.decoder.layers)
        self.tokens = torch.randint(1000, 50000, (arguments.batch, arguments.length), device=arguments.device)

    def loss(self):
        return self.model(input_ids=self.tokens, labels=self.tokens).loss


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["bert", "opt"], required=True)
    parser.add_argument("--attention", choices=["vga", "vanilla"], required=True)
    parser.add_argument("--precision", choices=["bf16", "fp32"], required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    ALL_ATTENTION_FUNCTIONS.register("gated", attend_with_gate)
    ALL_MASK_ATTENTION_FUNCTIONS.register("gated", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    make = {"bert": BertStep, "opt": OptStep}[arguments.model]
    step = make(arguments, "gated" if arguments.attention == "vga" else "sdpa")
    step.model.to(arguments.device).train()
    optimizer = torch.optim.AdamW(step.model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    loss_of = torch.compile(step.loss) if arguments.compile else step.loss
    seconds = []
    for _ in range(arguments.warmup + arguments.steps):
        begin = time.perf_counter()
        with torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(step.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds[arguments.warmup:])
    print(json.dumps({"tokens_per_s": arguments.batch * arguments.length / median, "step_s": median,
                      "loss": loss.item(), "torch": torch.__version__, "device": arguments.device,
                      "peak_resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
