"""Bad inputs as data: bad_input_test.py runs each row. A command runs in an empty folder of its own beside `../inputs`, which
all rows share and none may change. Its first word is a command of sluice, or `data` before one of sluice-data.

    Case(name, exit code, what standard error says, command, what makes its files)
"""

import collections
import shutil

Case = collections.namedtuple("Case", "name code says command make", defaults=(None,))
INPUTS = "../inputs/"
CONFIG, OPT, GENERATED, RUN = (INPUTS + name for name in ("small.yaml", "opt.yaml", "generated.yaml", "run"))
STEP = "checkpoints/step_00000002"
TRAIN, OPT_TRAIN, GENERATED_TRAIN = ["train", CONFIG], ["train", OPT], ["train", GENERATED]
EVALUATE, PREPARE = ["evaluate", RUN], ["data", "prepare", "--vocabulary", INPUTS + "vocabulary", "--out", "set"]
QUANTIZE = ["quantize", RUN]
LEARN = ["data", "learn-vocabulary", "--out", "vocabulary"]
VERIFY = ["data", "verify"]


def text(name, content):
    """Writes a file; text or bytes."""
    def make(here):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return make


def copy(source, change=None):
    """A copy of an input under its last name, changed by change(path)."""
    def make(here):
        target = here / source.split("/")[-1]
        origin = here.parent / "inputs" / source
        (shutil.copytree if origin.is_dir() else shutil.copyfile)(origin, target)
        if change is not None:
            change(target)
    return make


def flip(name="", share=0.5):
    """Flips a bit of the byte at this share of a file below what was copied."""
    def change(target):
        path = target / name if name else target
        content = bytearray(path.read_bytes())
        content[int(len(content) * share)] ^= 0x10
        path.write_bytes(content)
    return change


def truncate(name="", share=0.5):
    def change(target):
        path = target / name if name else target
        path.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])
    return change


def remove(name):
    return lambda target: (target / name).unlink()


def replace(name, old, new):
    def change(target):
        content = (target / name).read_bytes()
        assert old.encode() in content, (name, old, content[:300])
        (target / name).write_bytes(content.replace(old.encode(), new.encode() if isinstance(new, str) else new, 1))
    return change


def overwrite(name, source):
    """Another input's file in the place of one of what was copied."""
    return lambda target: shutil.copyfile(target.parent.parent / "inputs" / source, target / name)


def missed_threshold(here):
    """A run of the Bigram-Backcopy task that has not learned it."""
    text("run/config.yaml", f"extends: ../{GENERATED}\n")(here)
    text("run/metrics.jsonl", '{"event":"bigram_backcopy","step":10000,"backcopy_risk":4.5}\n')(here)


def long_header(target):
    path = target / "model.safetensors"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def yaml(content):
    return text("config.yaml", f"extends: {CONFIG}\n{content}")


OWN = ["train", "config.yaml"]

COMMAND_LINES = [
    Case("no command", 1, "a subcommand is wanted", []),
    Case("unknown command", 1, "not expected: fly", ["fly"]),
    Case("train without a configuration", 1, "config is required", ["train"]),
    Case("unknown option", 1, "--fast", [*TRAIN, "--fast"]),
    Case("evaluate without a path", 1, "path is required", ["evaluate"]),
    Case("negative batches", 1, "--batches", [*EVALUATE, "--batches", "-1"]),
    Case("batches that are no number", 1, "--batches", [*EVALUATE, "--batches", "few"]),
    Case("batch size of 0", 1, "--batch-size", [*EVALUATE, "--batch-size", "0"]),
    Case("batch size beyond any machine", 4, "out of memory", [*EVALUATE, "--batch-size", "60000000"]),
    Case("batch size beyond 32 bits", 1, "more tokens than 2147483647", [*EVALUATE, "--batch-size", "1000000000000"]),
    Case("batch size beyond 64 bits", 1, "more tokens than 2147483647", [*EVALUATE, "--batch-size", "99999999999999999999"]),
    Case("outliers and none", 1, "excludes", [*EVALUATE, "--no-outliers", "--kurtosis-batches", "3"]),
    Case("evaluate in an unknown precision", 1, "--precision", [*EVALUATE, "--precision", "fp8"]),
    Case("int8 in another precision", 1, "excludes", [*EVALUATE, "--int8", "--precision", "bf16"]),
    Case("int8 with outliers", 1, "excludes", [*EVALUATE, "--int8", "--kurtosis-batches", "3"]),
    Case("int8 on a GPU", 1, "integer products run on the CPU", [*EVALUATE, "--int8", "--device", "cuda"]),
    Case("int8 of 4 bits", 1, "--weight-bits", [*EVALUATE, "--int8", "--weight-bits", "4"]),
    Case("int8 with a percentile below the middle", 1, "--percentile must be above 50", [*EVALUATE, "--int8", "--percentile", "0.1"]),
    Case("int8 of a smoothed post-LN model", 1, "smoothing needs a pre-LN model", [*EVALUATE, "--int8", "--smooth", "0.5"]),
    Case("int8 calibrated on nothing", 2, "absent", [*EVALUATE, "--int8", "--calibration-data", "absent"]),
    Case("ranges without int8", 1, "requires --int8", [*EVALUATE, "--preset", "opt"]),
    Case("calibration without int8", 1, "requires --int8", [*EVALUATE, "--calibration-batches", "3"]),
    Case("quantize without a path", 1, "path is required", ["quantize"]),
    Case("quantize of nothing", 3, "no such checkpoint or run folder: absent", ["quantize", "absent"]),
    Case("a bit", 1, "bits must be 2 to 16, or 32 for fp32: --weight-bits: 1", [*QUANTIZE, "--weight-bits", "1"]),
    Case("24 bits", 1, "bits must be 2 to 16, or 32 for fp32: --activation-bits: 24", [*QUANTIZE, "--activation-bits", "24"]),
    Case("a sweep of words", 1, "not bit widths like W8A8: --sweep: int8", [*QUANTIZE, "--sweep", "W8A8,int8"]),
    Case("a sweep of 64 bits", 1, "bits must be 2 to 16", [*QUANTIZE, "--sweep", "W64A8"]),
    Case("a sweep and bits", 1, "excludes", [*QUANTIZE, "--sweep", "W8A8", "--weight-bits", "4"]),
    Case("a percentile of nothing", 1, "--percentile must be above 50", [*QUANTIZE, "--percentile", "0"]),
    Case("a percentile below the middle", 1, "--percentile must be above 50", [*QUANTIZE, "--percentile", "0.1"]),
    Case("smoothing of everything", 1, "--smooth must be at least 0 and below 1", [*QUANTIZE, "--smooth", "1"]),
    Case("smoothing of a post-LN model", 1, "smoothing needs a pre-LN model", [*QUANTIZE, "--smooth", "0.5"]),
    Case("calibration on nothing", 2, "absent", [*QUANTIZE, "--calibration-data", "absent"]),
    Case("calibration on another vocabulary", 3, "another vocabulary", [*QUANTIZE, "--calibration-data", INPUTS + "other_data"]),
    Case("a report below a file", 4, "cannot write the report: file/report.json", [*QUANTIZE, "--out", "file/report.json"], text("file", "")),
    Case("top of 0", 1, "--top", ["predict", RUN, "a [MASK]", "--top", "0"]),
    Case("predict without text", 1, "text is required", ["predict", RUN]),
    Case("predict without a mask", 1, "no [MASK] to fill in", ["predict", RUN, "the river"]),
    Case("predict of nothing", 1, "no [MASK] to fill in", ["predict", RUN, ""]),
    Case("predict too long a text", 1, "too long for the model: 180 tokens > 32", ["predict", RUN, "the " * 59 + "[MASK]"]),
    Case("predict with a causal model", 1, "[MASK]", ["predict", INPUTS + "opt_run", "the [MASK]"]),
    Case("predict with a model of no vocabulary", 3, "has no vocabulary", ["predict", INPUTS + "generated_run", "the [MASK]"]),
    Case("inspect of nothing", 1, "no such run, checkpoint, shard or manifest: absent", ["inspect", "absent"]),
    Case("gates of a shard", 1, "this is token data", ["inspect", INPUTS + "train", "--gates"]),
    Case("two looks at once", 1, "excludes", ["inspect", RUN, "--verify", "--gates"]),
    Case("bench of something else", 1, "what", ["bench", "sleep"]),
    Case("bench of a step in fp16 on a CPU", 1, "CPUs have no fp16 kernels", ["bench", "step", CONFIG, "--length", "16", "--precision", "fp16"]),
    Case("bench of attention in fp16", 1, "take --precision bf16", ["bench", "attention", CONFIG, "--length", "16", "--precision", "fp16"]),
    Case("bench longer than the positions", 1, "model.max_position_embeddings", ["bench", "step", CONFIG, "--length", "64"]),
    Case("bench of an unknown precision", 1, "--precision", ["bench", "step", CONFIG, "--precision", "fp8"]),
    Case("bench beyond 64 bits", 4, "out of memory", ["bench", "matmul", CONFIG, "--length", "16", "--batch", "99999999999999999999"]),
    Case("check of something else", 1, "what", ["check", "cleanliness", RUN]),
    Case("check of nothing", 2, "no such run folder: absent", ["check", "bigram-backcopy", "absent"]),
    Case("comparison of a run that was not measured", 2, "sluice evaluate " + RUN + " --precision fp32 --json", ["compare", RUN]),
    Case("comparison of nothing", 2, "no such run folder: absent", ["compare", "absent"]),
    Case("check of a run that was not measured", 2, "the run has no record of event bigram_backcopy", ["check", "bigram-backcopy", RUN]),
    Case("a missed threshold with --strict", 1, "thresholds are not met: T1 vanilla", ["check", "bigram-backcopy", "run", "--strict"], missed_threshold),
    Case("a report of nothing", 2, "no such run folder: absent", ["report", "absent"]),
    Case("a report of an empty folder", 2, "is no run folder: empty", ["report", RUN, "empty"], lambda here: (here / "empty").mkdir()),
    Case("a report of a checkpoint", 2, "is a checkpoint or data, no run folder", ["report", RUN + "/" + STEP]),
    Case("a report of a file", 2, "is no run folder but a file", ["report", CONFIG]),
    Case("a report of no runs", 1, "runs is required", ["report"]),
    Case("a page below a file", 4, "file/report.html", ["report", RUN, "--out", "file/report.html"], text("file", "")),
    Case("a page in a folder's place", 4, "folder", ["report", RUN, "--out", "folder"], lambda here: (here / "folder").mkdir()),
    Case("a bigram table of no text", 2, "cannot read the text of data.table", ["train", INPUTS + "generated_run/config.yaml", "data.table=absent"]),
    Case("export without a target", 1, "folder is required", ["export-hf", RUN]),
    Case("data: no command", 1, "a subcommand is missing", ["data"]),
    Case("data: unknown command", 1, "not expected: cook", ["data", "cook"]),
    Case("data: no text", 1, "TEXT is required", PREPARE),
    Case("data: unknown kind of row", 1, "known: document, paragraph, line", [*PREPARE, "--row", "page", INPUTS + "train.txt"]),
    Case("data: shards of no token", 1, "--shard-tokens", [*PREPARE, "--shard-tokens", "0", INPUTS + "train.txt"]),
    Case("data: threads beyond reason", 1, "--threads", [*PREPARE, "--threads", "5000", INPUTS + "train.txt"]),
    Case("data: standard input twice", 1, "given twice", [*PREPARE, "-", "-"]),
    Case("data: unknown tokenizer", 1, "known: wordpiece, bpe", [*LEARN, "--tokenizer", "unigram", INPUTS + "train.txt"]),
    Case("data: vocabulary of negative size", 1, "--size", [*LEARN, "--size", "-5", INPUTS + "train.txt"]),
    Case("data: vocabulary without room", 1, "no room", [*LEARN, "--size", "6", INPUTS + "train.txt"]),
    Case("data: bpe without room for bytes", 1, "size 259, needed 260",
         [*LEARN, "--tokenizer", "bpe", "--size", "259", INPUTS + "train.txt"]),
    Case("data: tokenizer of another kind", 1, "another kind than asked for", [*PREPARE, "--tokenizer", "bpe", INPUTS + "train.txt"]),
]

CONFIGURATIONS = [
    Case("no such file", 1, "does not exist: absent.yaml", ["train", "absent.yaml"]),
    Case("a folder", 1, "..", ["train", ".."]),
    Case("an empty file", 1, "configuration is empty: config.yaml", OWN, text("config.yaml", "")),
    Case("not YAML", 1, "YAML syntax error: config.yaml:3", OWN, text("config.yaml", "model:\n  hidden_size: [1\n")),
    Case("not UTF-8", 1, "UTF-8", OWN, text("config.yaml", b"name: caf\xe9\n")),
    Case("bytes of a shard", 1, "config.yaml", OWN, copy("train/shard_00000.h5", lambda path: path.rename(path.parent / "config.yaml"))),
    Case("extends itself", 1, "config.yaml", OWN, text("config.yaml", "extends: config.yaml\n")),
    Case("extends nothing there", 1, "absent.yaml", OWN, text("config.yaml", "extends: absent.yaml\n")),
    Case("a key twice", 1, "training.steps", OWN, yaml("training:\n  steps: 2\n  steps: 3\n")),
    Case("an unknown section", 1, "modle", OWN, yaml("modle:\n  hidden_size: 32\n")),
    Case("a misspelt key", 1, "did you mean training.steps", [*TRAIN, "training.step=5"]),
    Case("an override without a value", 1, "training.steps", [*TRAIN, "training.steps"]),
    Case("words for a number", 1, "training.steps", [*TRAIN, "training.steps=many"]),
    Case("a fraction of a step", 1, "training.steps", [*TRAIN, "training.steps=1.5"]),
    Case("negative steps", 1, "training.steps: '-3', expected an integer from 1", [*TRAIN, "training.steps=-3"]),
    Case("steps beyond 64 bits", 1, "training.steps", [*TRAIN, "training.steps=99999999999999999999"]),
    Case("not a number for a rate", 1, "optimizer.learning_rate", [*TRAIN, "optimizer.learning_rate=.nan"]),
    Case("an infinite rate", 1, "optimizer.learning_rate", [*TRAIN, "optimizer.learning_rate=.inf"]),
    Case("a negative seed", 1, "training.seed", [*TRAIN, "training.seed=-1"]),
    Case("beta of 1", 1, "optimizer.beta1: '1'", [*TRAIN, "optimizer.beta1=1"]),
    Case("dropout of 1", 1, "model.hidden_dropout_prob: '1'", [*TRAIN, "model.hidden_dropout_prob=1"]),
    Case("a name with a slash", 1, "not a name for a run", [*TRAIN, "name=a/b"]),
    Case("a model of another house", 1, "model.architecture", [*TRAIN, "model.architecture=gpt"]),
    Case("heads that do not divide", 1, "not divisible", [*TRAIN, "model.num_attention_heads=3"]),
    Case("heads too small", 1, "head size 4", [*TRAIN, "model.num_attention_heads=8"]),
    Case("rows longer than the positions", 1, "rows are longer than the position embedding", [*TRAIN, "data.sequence_length=33"]),
    Case("warm-up longer than training", 1, "warm-up is longer", [*TRAIN, "schedule.warmup_steps=9"]),
    Case("micro-batches that do not divide", 1, "micro-batches", [*TRAIN, "training.gradient_accumulation_steps=3"]),
    Case("shares above 1", 1, "sum to more than 1", [*TRAIN, "data.mlm_mask_share=0.9", "data.mlm_random_share=0.2"]),
    Case("nothing to evaluate on", 1, "nothing to evaluate on", [*TRAIN, "data.validation=[]", "training.evaluate_every=1"]),
    Case("nothing to probe quantization on", 1, "nothing to measure quantization on",
         [*TRAIN, "data.validation=[]", "telemetry.quantization_probe=auto"]),
    Case("best of a probe that is off", 1, "set telemetry.quantization_probe to auto", [*TRAIN, "checkpoint.keep_best=quantized_perplexity"]),
    Case("best by an unknown measure", 1, "perplexity, quantized_perplexity, none", [*TRAIN, "checkpoint.keep_best=accuracy"]),
    Case("a probe of unknown preset", 1, "off, auto, bert, opt", [*TRAIN, "telemetry.quantization_probe=gpt"]),
    Case("batches of a probe that is off", 1, "key would be ignored: telemetry.quantization_probe_batches",
         [*TRAIN, "telemetry.quantization_probe_batches=3"]),
    Case("a probe of projected embeddings", 1, "quantization of a model with projected embeddings",
         [*OPT_TRAIN, "model.word_embed_proj_dim=16", "telemetry.quantization_probe=auto"]),
    Case("an unknown precision", 1, "training.precision", [*TRAIN, "training.precision=fp8"]),
    Case("fp16 on a CPU", 1, "set training.precision to bf16, or runtime.device to cuda", [*TRAIN, "training.precision=fp16"]),
    Case("a loss scale of bf16", 1, "read only when training.precision is fp16",
         [*TRAIN, "training.precision=bf16", "training.loss_scale.initial=8"]),
    Case("an unknown device", 1, "runtime.device", [*TRAIN, "runtime.device=tpu"]),
    Case("a model beyond any machine", 4, "memory", [*TRAIN, "model.num_hidden_layers=1024", "model.hidden_size=65536",
                                                     "model.num_attention_heads=256"]),
    # Keys that would be ignored.
    Case("a gate without its variant", 1, "key would be ignored: model.attention.gate.site",
         [*TRAIN, "model.attention.variant=vanilla", "model.attention.gate.site=key"]),
    Case("clipping without its variant", 1, "key would be ignored: model.attention.clipped_softmax.gamma",
         [*TRAIN, "model.attention.clipped_softmax.gamma=-0.1"]),
    Case("a sink without its variant", 1, "key would be ignored: model.attention.learnable_sink",
         [*TRAIN, "model.attention.variant=softmax_plus_one", "model.attention.learnable_sink=token"]),
    Case("softmax plus one with a gate", 1, "key would be ignored: model.attention.gate.bias",
         [*TRAIN, "model.attention.variant=softmax_plus_one", "model.attention.gate.bias=true"]),
    Case("no softmax with clipping", 1, "key would be ignored: model.attention.clipped_softmax.zeta",
         [*TRAIN, "model.attention.variant=relu", "model.attention.clipped_softmax.zeta=1.1"]),
    Case("a projected embedding of BERT", 1, "key would be ignored: model.word_embed_proj_dim", [*TRAIN, "model.word_embed_proj_dim=8"]),
    Case("token types of OPT", 1, "key would be ignored: model.type_vocab_size", [*OPT_TRAIN, "model.type_vocab_size=2"]),
    Case("masks of OPT", 1, "key would be ignored: data.mlm_probability", [*OPT_TRAIN, "data.mlm_probability=0.2"]),
    Case("the next sentence of OPT", 1, "key would be ignored: model.next_sentence_head", [*OPT_TRAIN, "model.next_sentence_head=true"]),
    Case("files for what is generated", 1, "key would be ignored: data.train", [*GENERATED_TRAIN, "data.train=../inputs/train"]),
    Case("a final fraction of a constant", 1, "key would be ignored: schedule.final_fraction", [*TRAIN, "schedule.final_fraction=0.1"]),
    # Keys that contradict each other.
    Case("clipping that does not clip", 1, "would not be clipped",
         [*TRAIN, "model.attention.variant=clipped_softmax", "model.attention.clipped_softmax.gamma=0"]),
    Case("gamma and alpha", 1, "say the same thing twice",
         [*TRAIN, "model.attention.variant=clipped_softmax", "model.attention.clipped_softmax.gamma=-0.1",
          "model.attention.clipped_softmax.alpha=1"]),
    Case("gates that start open without a bias", 1, "only a bias", [*TRAIN, "model.attention.gate.initial_probability=0.9"]),
    Case("a gate of the first layer but one", 1, "no such layer: model.attention.gate.layers [1, 9]", [*TRAIN, "model.attention.gate.layers=[1,9]"]),
    Case("layers the wrong way round", 1, "not in ascending order", [*TRAIN, "model.attention.gate.layers=[1,0]"]),
    Case("the same layer twice", 1, "not in ascending order", [*TRAIN, "model.attention.gate.layers=[1,1]"]),
    Case("a layer without a list", 1, "not a list: override 1: model.attention.gate.layers: '1'", [*TRAIN, "model.attention.gate.layers=1"]),
    Case("half a layer", 1, "item 1 of a list is not an integer", [*TRAIN, "model.attention.gate.layers=[0.5]"]),
    Case("a temperature of zero", 1, "model.attention.gate.temperature: '0'", [*TRAIN, "model.attention.gate.temperature=0"]),
    Case("a scale that is a word", 1, "expected a number above 0 or one_at_start", [*TRAIN, "model.attention.gate.scale=one"]),
    Case("a negative scale", 1, "expected a number above 0 or one_at_start", [*TRAIN, "model.attention.gate.scale=-2"]),
    Case("a scale of an unknown start", 1, "the gate starts at no known value",
         [*TRAIN, "model.attention.gate.bias=true", "model.attention.gate.scale=one_at_start"]),
    Case("a bias of a perceptron", 1, "key would be ignored: model.attention.gate.bias",
         [*TRAIN, "model.attention.gate.predictor=mlp", "model.attention.gate.bias=true"]),
    Case("hidden units of a linear gate", 1, "key would be ignored: model.attention.gate.predictor_hidden_size",
         [*TRAIN, "model.attention.gate.predictor_hidden_size=4"]),
    Case("a source of nothing", 1, "key would be ignored: model.attention.gate.source",
         [*TRAIN, "model.attention.gate.predictor=free_scalar", "model.attention.gate.source=input"]),
    Case("a dry run with weights from nowhere", 3, "no such checkpoint or run folder: absent",
         [*TRAIN, "--dry-run", "--init-from", "absent"]),
    Case("weights from nowhere", 3, "no such checkpoint or run folder: absent", [*TRAIN, "--init-from", "absent"]),
    Case("a gate for each word", 1, "model.attention.gate.granularity", [*TRAIN, "model.attention.gate.granularity=word"]),
    Case("a variant that does not exist", 1, "model.attention.variant", [*TRAIN, "model.attention.variant=sparse"]),
    Case("too many registers", 1, "model.attention.register_tokens: '1025'", [*TRAIN, "model.attention.register_tokens=1025"]),
    Case("negative registers", 1, "model.attention.register_tokens: '-1'", [*TRAIN, "model.attention.register_tokens=-1"]),
    Case("BERT on the generated task", 1, "the data asks for the next tokens", [*GENERATED_TRAIN, "model.architecture=bert"]),
    Case("OPT on NVIDIA's data", 1, "the data asks for masked tokens", [*OPT_TRAIN, "data.source=nvidia_bert", "model.vocab_size=300"]),
    Case("pairs from shards", 1, "needs data with sentence pairs", [*TRAIN, "model.next_sentence_head=true"]),
    Case("NVIDIA's data without a vocabulary's size", 1, "set model.vocab_size", [*TRAIN, "data.source=nvidia_bert"]),
]

DATA = [
    Case("no such data", 2, "absent", [*TRAIN, "data.train=absent"]),
    Case("a vocabulary instead of data", 2, "manifest", [*TRAIN, "data.train=../inputs/vocabulary"]),
    Case("a text instead of data", 2, "train.txt", [*TRAIN, "data.train=../inputs/train.txt"]),
    Case("data of two vocabularies", 2, "different tokenizers", [*TRAIN, "data.train=../inputs/other_data"]),
    Case("a model smaller than the vocabulary", 2, "larger than model.vocab_size", [*TRAIN, "model.vocab_size=10"]),
    Case("masks without a mask token", 2, "has no [MASK]", [*TRAIN, "data.train=../inputs/byte_pair_data", "data.validation=[]"]),
    Case("rows longer than the data", 2, "sequence", [*TRAIN, "data.train=../inputs/tiny_data", "data.validation=[]"]),
    Case("evaluate on absent data", 2, "absent", [*EVALUATE, "--data", "absent"]),
    Case("evaluate on another vocabulary", 3, "another vocabulary than the checkpoint", [*EVALUATE, "--data", INPUTS + "other_data"]),
    Case("evaluate on data without masks", 2, "has no [MASK]", [*EVALUATE, "--data", INPUTS + "byte_pair_data"]),
    Case("evaluate on another kind of vocabulary", 3, "another kind of vocabulary", ["evaluate", INPUTS + "opt_run", "--data", INPUTS + "train"]),
    Case("evaluate on NVIDIA's files", 2, "manifest", [*EVALUATE, "--data", "pairs.hdf5"], text("pairs.hdf5", "no HDF5")),
    Case("a truncated shard", 2, "shard_00000.h5", [*VERIFY, "train"], copy("train", truncate("shard_00000.h5"))),
    Case("training on a truncated shard", 2, "shard_00000.h5", [*TRAIN, "data.train=train"], copy("train", truncate("shard_00000.h5"))),
    Case("a flipped byte", 2, "cannot read tokens", [*VERIFY, "train"], copy("train", flip("shard_00000.h5"))),
    Case("a checkpoint's file as a shard", 2, "shard is not as long as the manifest says", [*VERIFY, "train"],
         copy("train", overwrite("shard_00000.h5", "run/checkpoints/step_00000002/model.h5"))),
    Case("a checkpoint's file alone as a shard", 2, "not a token shard", [*VERIFY, INPUTS + "run/" + STEP + "/model.h5"]),
    Case("a shard of other data", 2, "shard_00000.h5", [*VERIFY, "train"], copy("train", overwrite("shard_00000.h5", "valid/shard_00000.h5"))),
    Case("a missing shard", 2, "shard does not exist: train/shard_00000.h5", [*VERIFY, "train"], copy("train", remove("shard_00000.h5"))),
    Case("a manifest that is not YAML", 2, "manifest.yaml", [*VERIFY, "train"],
         copy("train", lambda path: (path / "manifest.yaml").write_text("[[["))),
    Case("a manifest of the future", 2, "version", [*VERIFY, "train"], copy("train", replace("manifest.yaml", "format_version: 2", "format_version: 9"))),
    Case("a manifest without its vocabulary", 2, "vocab.txt", [*TRAIN, "data.train=train"], copy("train", remove("vocab.txt"))),
    Case("a changed vocabulary beside its shards", 2, "vocabulary is not the one that the manifest names", [*TRAIN, "data.train=train"],
         copy("train", replace("vocab.txt", "[MASK]", "[HIDE]"))),
    Case("NVIDIA: no such file", 2, "absent.hdf5", [*TRAIN, "data.source=nvidia_bert", "model.vocab_size=60", "data.train=absent.hdf5",
                                                    "data.validation=[]"]),
    Case("NVIDIA: not HDF5", 2, "is not an HDF5 file: pairs.hdf5", [*VERIFY, "pairs.hdf5"], text("pairs.hdf5", "no HDF5")),
    Case("NVIDIA: a shard", 2, "not of NVIDIA's BERT layout",
         [*TRAIN, "data.source=nvidia_bert", "model.vocab_size=60", "data.train=pairs.hdf5", "data.validation=[]"],
         copy("train/shard_00000.h5", lambda path: path.rename(path.parent / "pairs.hdf5"))),
    Case("NVIDIA: an empty folder", 2, "no file that ends in .hdf5", [*TRAIN, "data.source=nvidia_bert", "model.vocab_size=60",
                                                                      "data.train=pairs", "data.validation=[]"],
         lambda here: (here / "pairs").mkdir()),
    Case("NVIDIA: an empty list", 2, "list names no file", [*TRAIN, "data.source=nvidia_bert", "model.vocab_size=60",
                                                            "data.train=list.txt", "data.validation=[]"], text("list.txt", "\n")),
]

TEXTS = [
    Case("no such text", 2, "absent.txt", [*PREPARE, "absent.txt"]),
    Case("a folder as text", 2, "folder, not a file", [*PREPARE, INPUTS + "train"]),
    Case("an empty text", 2, "empty.txt", [*PREPARE, "empty.txt"], text("empty.txt", "")),
    Case("white space only", 2, "blank.txt", [*PREPARE, "blank.txt"], text("blank.txt", " \n\n\t\n")),
    Case("UTF-16", 2, "UTF-16, not UTF-8", [*PREPARE, "wide.txt"], text("wide.txt", "the river".encode("utf-16"))),
    Case("no xz behind the ending", 2, "file is no xz archive", [*PREPARE, "train.txt.xz"], text("train.txt.xz", "the river\n")),
    Case("no gzip behind the ending", 2, "file is no gzip archive", [*PREPARE, "train.txt.gz"], text("train.txt.gz", "the river\n")),
    Case("half a gzip archive", 2, "gzip archive is truncated", [*PREPARE, "train.txt.gz"], copy("train.txt.gz", truncate())),
    Case("a vocabulary of no words", 2, "no words", [*LEARN, "blank.txt"], text("blank.txt", "\n \n")),
    Case("no such vocabulary", 2, "absent", ["data", "prepare", "--vocabulary", "absent", "--out", "set", INPUTS + "train.txt"]),
]


def vocabulary(name, says, make, code=2):
    return Case("vocabulary: " + name, code, says, ["data", "prepare", "--vocabulary", "words", "--out", "set", INPUTS + "train.txt"], make)


def byte_pairs(name, says, change):
    return Case("byte pairs: " + name, 2, says, ["data", "prepare", "--tokenizer", "bpe", "--vocabulary", "byte_pairs", "--out", "set",
                                              INPUTS + "train.txt"], copy("byte_pairs", lambda path: (remove("tokenizer.yaml")(path), change(path))))


SPECIAL = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
VOCABULARIES = [
    vocabulary("an empty folder", "cannot open vocabulary: words/vocab.txt", lambda here: (here / "words").mkdir()),
    vocabulary("empty", "vocabulary is empty", text("words/vocab.txt", "")),
    vocabulary("no special tokens", "lacks a special token", text("words/vocab.txt", "the\nriver\n")),
    vocabulary("a token twice", "token is there twice: words/vocab.txt:8", text("words/vocab.txt", SPECIAL + "the\na\nthe\n")),
    vocabulary("an empty line", "empty line: words/vocab.txt:6", text("words/vocab.txt", SPECIAL + "\nthe\n")),
    vocabulary("lines of another system", "carriage return", text("words/vocab.txt", SPECIAL.replace("\n", "\r\n"))),
    vocabulary("not UTF-8", "not UTF-8: words/vocab.txt:6", text("words/vocab.txt", SPECIAL.encode() + b"caf\xe9\n")),
    byte_pairs("no merges", "merges.txt", remove("merges.txt")),
    byte_pairs("empty merges", "merges are empty", lambda path: (path / "merges.txt").write_text("")),
    byte_pairs("merges without their version", "do not begin with the line", replace("merges.txt", "#version: 0.2\n", "")),
    byte_pairs("a merge of one token", "not two tokens with one space between", replace("merges.txt", "#version: 0.2\n", "#version: 0.2\nalone\n")),
    byte_pairs("a merge of strangers", "the vocabulary lacks", replace("merges.txt", "#version: 0.2\n", "#version: 0.2\nqq zz\n")),
    byte_pairs("half of vocab.json", "vocabulary is not JSON", truncate("vocab.json")),
    byte_pairs("a list as vocab.json", "not an object of tokens and ids", lambda path: (path / "vocab.json").write_text("[1, 2]")),
    byte_pairs("an id twice", "two tokens have one id", replace("vocab.json", ":1,", ":0,")),
    byte_pairs("a negative id", "an id below 0", replace("vocab.json", ":1,", ":-1,")),
    byte_pairs("a fraction as id", "not a whole number", replace("vocab.json", ":1,", ":1.5,")),
    Case("vocabulary: not what tokenizer.yaml says", 2, "another sha256 than tokenizer.yaml says",
         ["data", "prepare", "--vocabulary", "vocabulary", "--out", "set", INPUTS + "train.txt"],
         copy("vocabulary", replace("vocab.txt", "chan\n", "span\n"))),
]


def checkpoint(name, says, change, command=("evaluate", "step_00000002"), code=3):
    return Case("checkpoint: " + name, code, says, list(command), copy("run/" + STEP, change))


def hugging_face(name, says, change):
    return Case("Hugging Face: " + name, 3, says, ["import-hf", "exported", "imported"], copy("exported", change))


RESUME = [*TRAIN, "--run-folder", "new", "--resume", INPUTS + "run"]
CHECKPOINTS = [
    Case("no such checkpoint", 3, "no such checkpoint or run folder: absent", ["evaluate", "absent"]),
    Case("a text as checkpoint", 3, "a checkpoint is a folder", ["evaluate", INPUTS + "train.txt"]),
    Case("data as checkpoint", 3, "manifest.yaml", ["evaluate", INPUTS + "train"]),
    Case("a run without checkpoints", 3, "no whole checkpoint yet: empty", ["evaluate", "empty"], lambda here: (here / "empty/checkpoints").mkdir(parents=True)),
    Case("resume from nowhere", 3, "no such checkpoint or run folder: absent", [*TRAIN, "--resume", "absent"]),
    checkpoint("a flipped weight", "model.h5", flip("model.h5")),
    checkpoint("a flipped moment", "optimizer.h5", flip("optimizer.h5"), ["inspect", "step_00000002", "--verify"]),
    checkpoint("half a file", "model.h5", truncate("model.h5")),
    checkpoint("a missing file", "optimizer.h5", remove("optimizer.h5"), ["inspect", "step_00000002", "--verify"]),
    checkpoint("no manifest", "manifest.yaml", remove("manifest.yaml")),
    checkpoint("half a manifest", "manifest.yaml", truncate("manifest.yaml")),
    checkpoint("a changed configuration", "config.yaml", replace("config.yaml", "hidden_size: 32", "hidden_size: 64")),
    checkpoint("another model's weights", "model.h5", overwrite("model.h5", "generated_run/checkpoints/step_00000002/model.h5")),
    checkpoint("a shard as weights", "model.h5", overwrite("model.h5", "train/shard_00000.h5")),
    Case("resume another model", 1, "model.num_hidden_layers was 1, is 2", [*RESUME, "model.num_hidden_layers=2"]),
    Case("resume another variant", 1, "model.attention.variant was gated, is vanilla", [*RESUME, "model.attention.variant=vanilla"]),
    Case("resume with other settings", 1, "optimizer.beta1 was 0.9, is 0.8", [*RESUME, "optimizer.beta1=0.8"]),
    Case("resume past the end", 1, "past training.steps", [*RESUME, "training.steps=1"]),
    Case("resume with another vocabulary", 3, "another vocabulary than the checkpoint",
         [*RESUME, "data.train=../inputs/other_data", "data.validation=[]"]),
    Case("gates of a model without", 3, "no statistics of gates or attention", ["inspect", INPUTS + "generated_run", "--gates"]),
    Case("compare with nothing", 3, "absent", ["inspect", RUN, "--diff", "absent"]),
    Case("Hugging Face: no such folder", 3, "no such folder", ["import-hf", "absent", "imported"]),
    Case("Hugging Face: a checkpoint", 3, "neither model.safetensors", ["import-hf", INPUTS + "run/" + STEP, "imported"]),
    Case("Hugging Face: onto something", 1, "exists already", ["export-hf", RUN, INPUTS + "train"]),
    hugging_face("no configuration", "config.json", remove("config.json")),
    hugging_face("half a configuration", "is not JSON", truncate("config.json")),
    hugging_face("another model", "model_type", replace("config.json", '"bert"', '"gpt2"')),
    hugging_face("no tokenizer", "vocab.txt", remove("vocab.txt")),
    hugging_face("half of the weights", "truncated", truncate("model.safetensors")),
    hugging_face("a header beyond the file", "impossible header length", long_header),
    hugging_face("no weights", "neither model.safetensors", remove("model.safetensors")),
    hugging_face("a layer too many", "missing tensor", replace("config.json", '"num_hidden_layers": 1', '"num_hidden_layers": 2')),
    hugging_face("fewer tokens than words", "larger than vocab_size", replace("vocab.txt", "chan\n", "chan\nmore\nwords\n")),
]

# What the system refuses; a file where a folder is wanted refuses root as well.
PLACES = [
    Case("run folder below a file", 4, "cannot create the run folder", [*TRAIN, "--run-folder", "file/run"], text("file", "")),
    Case("run folder below /proc", 4, "cannot create the run folder", [*TRAIN, "--run-folder", "/proc/sluice/run"]),
    Case("run folder is a file", 4, "cannot create the run folder", [*TRAIN, "--run-folder", "file"], text("file", "")),
    Case("shards below a file", 4, "cannot make the output folder: file/set",
         ["data", "prepare", "--vocabulary", INPUTS + "vocabulary", "--out", "file/set", INPUTS + "train.txt"], text("file", "")),
    Case("shards below /proc", 4, "cannot make the output folder: /proc/sluice",
         ["data", "prepare", "--vocabulary", INPUTS + "vocabulary", "--out", "/proc/sluice", INPUTS + "train.txt"]),
    Case("shards onto shards", 1, "already holds a data set",
         ["data", "prepare", "--vocabulary", INPUTS + "vocabulary", "--out", INPUTS + "train", INPUTS + "train.txt"]),
    Case("vocabulary below a file", 4, "cannot make folder: file/words",
         ["data", "learn-vocabulary", "--size", "60", "--out", "file/words", INPUTS + "train.txt"], text("file", "")),
    Case("vocabulary onto another", 1, "holds another vocabulary already",
         ["data", "learn-vocabulary", "--size", "50", "--out", INPUTS + "vocabulary", INPUTS + "valid.txt"]),
    Case("export below a file", 4, "cannot create folder", ["export-hf", RUN, "file/exported"], text("file", "")),
    Case("import below /proc", 4, "cannot create folder", ["import-hf", INPUTS + "exported", "/proc/sluice/imported"]),
]

CASES = [*COMMAND_LINES, *CONFIGURATIONS, *DATA, *TEXTS, *VOCABULARIES, *CHECKPOINTS, *PLACES]
