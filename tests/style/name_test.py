"""Names: one op is one stem (kernels/api/X.h has a reference, a CPU kernel and a test; what is in
kernels/cuda is in kernels/cuda_absent too, and launches only through launch.cuh), nothing is
called Utils, Helpers or Common, words are separated by underscores, and no note to oneself is left
in the text."""

import re
import sys

import style_check

# Stems of kernels/api that lack one of the places, and why.
STEM_EXCEPTIONS = {
    ("processor", "reference"): "it describes the machine; there is nothing to compute",
    ("cuda_stream", "reference"): "it names a type",
    ("cuda_stream", "cpu"): "it names a type",
    ("cuda_stream", "test"): "it names a type",
    ("parameter_update", "reference"): "the formula is in the header, for every backend",
    ("parameter_update", "cpu"): "the formula is in the header, for every backend",
    ("cudnn_attention", "reference"): "attention's is its judge",
    ("cudnn_attention", "cpu"): "it is a library of GPUs",
}
LAUNCH_SITE = "kernels/cuda/launch.cuh"
TEXT_ENDINGS = (".cc", ".h", ".cu", ".cuh", ".py", ".sh", ".md", ".yaml", ".txt", "run")
_VAGUE = re.compile(r"(?:util|utils|utility|utilities|helper|helpers|common|misc)", re.IGNORECASE)
_VAGUE_TYPE = re.compile(
    r"\b(?:class|struct|namespace|enum(?: class)?)\s+(\w*(?:Util|Utils|Helper|Helpers|Common|utils?|helpers?))\b"
)
_NOTES = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
_FILE_NAME = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")


def stem_places(stem, stems):
    """[(what, pattern)] of the files that the op `stem` must have. `attention` is not served by
    attention_gate.cc: a longer stem owns the files that begin with it."""
    longer = [other for other in stems if other.startswith(stem + "_")]
    avoid = "".join(f"(?!{other[len(stem):]}(?:_|\\.))" for other in longer)
    rest = rf"{stem}{avoid}(?:_\w+)?"
    return [
        ("reference", re.compile(rf"kernels/reference/{rest}\.cc")),
        ("cpu", re.compile(rf"kernels/cpu/{rest}\.cc")),
        ("test", re.compile(rf"tests/kernels/(?:{stem}|{rest})_test\.cc")),
    ]


def check_stems(tree):
    api = [path for path in tree.cpp() if path.startswith("kernels/api/")]
    stems = [path.split("/")[-1][:-2] for path in api]
    problems = []
    for path, stem in zip(api, stems):
        for what, pattern in stem_places(stem, stems):
            there = any(pattern.fullmatch(other) for other in tree.paths)
            if not there and (stem, what) not in STEM_EXCEPTIONS:
                problems.append(f"{path}:1: the op has no {what} file; see kernels/README.md")
            if there and (stem, what) in STEM_EXCEPTIONS:
                problems.append(f"{path}:1: its exception for {what} is not needed any more")
    return problems


def check_cuda(tree):
    """A program without CUDA links kernels/cuda_absent, so that has the same ops; and a kernel is
    launched in one place, which checks and names it."""
    problems = []
    stems = {}
    for path in tree.cpp():
        found = re.fullmatch(r"kernels/(cuda|cuda_absent)/(\w+)\.(?:cu|cc)", path)
        if found:
            stems.setdefault(found.group(1), {})[found.group(2)] = path
        if path.startswith("kernels/") and path != LAUNCH_SITE and "<<<" in (
            style_check.without_comments_and_strings(tree.text(path))
        ):
            problems.append(f"{path}:1: launches a kernel; only {LAUNCH_SITE} does")
    api = {path.split("/")[-1][:-2] for path in tree.cpp() if path.startswith("kernels/api/")}
    here, absent = stems.get("cuda", {}), stems.get("cuda_absent", {})
    for stem in sorted(api & (here.keys() ^ absent.keys())):
        path = here.get(stem) or absent[stem]
        problems.append(f"{path}:1: is in one of kernels/cuda and kernels/cuda_absent only")
    return problems


def check_file_name(path):
    name = path.split("/")[-1]
    folder = path.split("/")[-2] if "/" in path else ""
    if _VAGUE.fullmatch(folder) or any(_VAGUE.fullmatch(word) for word in re.split(r"[_.]", name)):
        return [f"{path}:1: name it after what it does, not Utils, Helpers or Common"]
    if path.endswith((".cc", ".h", ".cu", ".cuh", ".py", ".sh", ".yaml")) and not _FILE_NAME.fullmatch(name):
        return [f"{path}:1: file names are lower case with underscores"]
    return []


def check(tree):
    problems = check_stems(tree) + check_cuda(tree)
    for path in tree.paths:
        problems += check_file_name(path)
        if not path.endswith(TEXT_ENDINGS) or path.startswith("tests/style/"):
            continue  # the samples of these checks are meant to be wrong
        for pattern, sentence in (
            (_NOTES, "finish it or say it in a sentence"),
            (_VAGUE_TYPE, "name it after what it does"),
        ):
            for found in pattern.finditer(tree.text(path)):
                line = style_check.line_of(tree.text(path), found.start())
                problems.append(f"{path}:{line}: '{found.group(0)}': {sentence}")
    return problems


_OP = {
    "kernels/api/softmax.h": "",
    "kernels/reference/softmax.cc": "",
    "kernels/cpu/softmax_rows.cc": "",
    "tests/kernels/softmax_test.cc": "",
}


def _without(path):
    return {other: text for other, text in _OP.items() if other != path}


GOOD = _OP | {
    "kernels/api/processor.h": "",
    "kernels/cpu/processor.cc": "",
    "tests/kernels/processor_test.cc": "",
    "kernels/cuda/softmax.cu": "// <<<1, 1>>>\n",
    "kernels/cuda/softmax_tile.cuh": "",
    "kernels/cuda/launch.cuh": "f<<<1, 1>>>();\n",
    "kernels/cuda_absent/softmax.cc": "",
    "src/core/uncommon_name.cc": "// hacks are fine\nclass Commoner {};\n",
}
BAD = [
    (_without("kernels/reference/softmax.cc"), "no reference file"),
    (_without("kernels/cpu/softmax_rows.cc"), "no cpu file"),
    (_without("tests/kernels/softmax_test.cc"), "no test file"),
    (
        _without("kernels/cpu/softmax_rows.cc")
        | {
            "kernels/api/softmax_rows.h": "",
            "kernels/cpu/softmax_rows.cc": "",
            "kernels/reference/softmax_rows.cc": "",
            "tests/kernels/softmax_rows_test.cc": "",
        },
        "api/softmax.h:1: the op has no cpu file",
    ),
    (_OP | {"kernels/cuda/softmax.cu": ""}, "softmax.cu:1: is in one of"),
    (_OP | {"kernels/cuda_absent/softmax.cc": ""}, "softmax.cc:1: is in one of"),
    ({"kernels/cuda/a.cuh": "f<<<1, 1>>>();\n"}, "launches a kernel"),
    ({"src/core/string_utils.cc": ""}, "name it after what it does"),
    ({"src/common/a.cc": ""}, "name it after what it does"),
    ({"src/core/a.h": "class TensorHelper {\n"}, "'class TensorHelper'"),
    ({"src/core/a.h": "// TO" "DO: all of it\n"}, "a.h:1: 'TODO'"),
    ({"launch/a.sh": "# FIXME\n"}, "'FIXME'"),
    ({"src/core/BadName.cc": ""}, "lower case with underscores"),
]

if __name__ == "__main__":
    sys.exit(style_check.main(sys.modules[__name__]))
