"""Who may include whom. The levels are read from the table in src/README.md, so the page and the
check cannot part; the doors that are narrower than their level are below."""

import re
import sys

import style_check

# module: the only files of it that other modules may include.
NARROW_DOORS = {"config": {"run_config.h", "load.h", "dump.h", "validate.h"}}
# (who, whom): the only files of whom that who may include.
NARROW_PAIRS = {
    ("telemetry", "model"): {"observer.h"},
    ("quantize", "model"): {"observer.h"},
}
# The same level, but a library of its own: the tokenizers, which `sluice predict` needs.
SAME_LEVEL_DOORS = {("tools", "data_tools"): "text/"}
# Lower levels that a module must nevertheless not know.
FORBIDDEN = {
    ("model", "comm"): "a model does not know that there are ranks",
    ("model", "data"): "a model sees a Batch's tensors, not where they come from",
}
# ... except these files, which are plain descriptions.
FORBIDDEN_BUT = {("model", "data"): {"batch.h"}}

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def read_levels(readme):
    """{module: level} from the table rows that begin with a number: | 2 | `ops`, `data` | …"""
    levels = {}
    for line in readme.splitlines():
        row = re.match(r"\|\s*(\d+)\s*\|([^|]*)\|", line)
        if row:
            for module in re.findall(r"`([a-z_]+)`", row.group(2)):
                levels[module] = int(row.group(1))
    return levels


def module_of(path):
    parts = path.split("/")
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return parts[0] if parts[0] in ("kernels", "data_tools", "tests") and len(parts) > 1 else None


def why_not(levels, path, included):
    """None, or the sentence that says why `path` may not include `included`."""
    me, other = module_of(path), included.split("/")[0]
    if other not in levels or me == "tests":
        return None  # a library's header; and tests may look at everything
    inner = included.split("/", 1)[1]
    if me == other:
        return why_not_within_kernels(path, included) if me == "kernels" else None
    if other == "kernels":
        if me != "ops":
            return "only ops and tests include kernels/"
        return None if inner.startswith("api/") else "of kernels/ only kernels/api may be included"
    if me == "kernels" and other != "core":
        return "kernels include core only"
    if inner.startswith(SAME_LEVEL_DOORS.get((me, other), "?")):
        return None
    if levels[other] >= levels[me]:
        return f"{me} is level {levels[me]} and {other} is level {levels[other]} (src/README.md)"
    if other in NARROW_DOORS and inner not in NARROW_DOORS[other]:
        return f"of {other} others include only {', '.join(sorted(NARROW_DOORS[other]))}"
    if (me, other) in NARROW_PAIRS and inner not in NARROW_PAIRS[me, other]:
        return f"{me} sees {other} only through {', '.join(sorted(NARROW_PAIRS[me, other]))}"
    if (me, other) in FORBIDDEN and inner not in FORBIDDEN_BUT.get((me, other), ()):
        return FORBIDDEN[me, other]
    return None


def why_not_within_kernels(path, included):
    """The reference shares nothing with the fast code, so that it can judge it."""
    mine, theirs = path.split("/")[1], included.split("/")[1]
    if theirs not in (mine, "api"):
        return f"kernels/{mine} may include kernels/api and itself only"
    return None


def check(tree):
    if not tree.exists("src/README.md"):
        return ["src/README.md:1: is missing; it has the table of levels"]
    levels = read_levels(tree.text("src/README.md"))
    problems = []
    for path in tree.cpp():
        module = module_of(path)
        if module is None:
            continue
        if module != "tests" and module not in levels:
            problems.append(f"{path}:1: module '{module}' is not in the table of src/README.md")
            continue
        text = tree.text(path)
        for found in _INCLUDE.finditer(text):
            beside = f"{path.rsplit('/', 1)[0]}/{found.group(1)}"
            reason = why_not(levels, path, found.group(1))
            if module != "tests" and tree.exists(beside):
                reason = "write it from the root: module/file.h"
            if reason:
                line = style_check.line_of(text, found.start(1))
                problems.append(f'{path}:{line}: includes "{found.group(1)}": {reason}')
    return problems


_TABLE = """
| level | modules | what |
| --- | --- | --- |
| 6 | `tools`, `data_tools` | x |
| 5 | `train`, `report` | x |
| 4 | `telemetry` | x |
| 3 | `model`, `checkpoint` | x |
| 2 | `ops`, `data`, `comm` | x |
| 1 | `config`, `kernels` | x |
| 0 | `core` | x |
"""


def _sample(path, included):
    return {"src/README.md": _TABLE, path: f'#include <vector>\n#include "{included}"\n'}


GOOD = {
    "src/README.md": _TABLE,
    "src/ops/a.cc": '#include "core/a.h"\n#include "kernels/api/a.h"\n#include "config/run_config.h"\n',
    "src/model/b.cc": '#include "ops/a.h"\n#include "absl/x/y.h"\n#include "data/batch.h"\n',
    "src/telemetry/c.cc": '#include "model/observer.h"\n#include "telemetry/c.h"\n',
    "kernels/cpu/d.cc": '#include "kernels/api/d.h"\n#include "core/a.h"\n#include "kernels/cpu/e.h"\n',
    "kernels/cuda/d.cu": '#include "kernels/api/d.h"\n#include "kernels/cuda/e.cuh"\n#include "core/a.h"\n',
    "kernels/cuda_absent/d.cc": '#include "kernels/api/d.h"\n#include "kernels/cuda_absent/absent.h"\n',
    "src/tools/predict.cc": '#include "data_tools/text/tokenizer.h"\n',
    "tests/data/e.h": "",
    "tests/data/e_test.cc": '#include "e.h"\n',
    "tests/kernels/d_test.cc": '#include "kernels/cpu/d.h"\n#include "support/compare.h"\n',
}
BAD = [
    (_sample("src/core/a.cc", "ops/a.h"), "core is level 0 and ops is level 2"),
    (_sample("src/data/a.cc", "model/a.h"), "data is level 2"),
    (_sample("src/comm/a.cc", "ops/a.h"), "comm is level 2 and ops is level 2"),
    (_sample("src/checkpoint/a.h", "model/a.h"), "checkpoint is level 3"),
    (_sample("src/model/a.cc", "telemetry/a.h"), "model is level 3"),
    (_sample("src/model/a.cc", "comm/communicator.h"), "does not know that there are ranks"),
    (_sample("src/model/a.cc", "data/shard_reader.h"), "sees a Batch's tensors"),
    (_sample("src/model/a.cc", "kernels/api/a.h"), "only ops and tests include kernels/"),
    (_sample("src/ops/a.cc", "kernels/cpu/a.h"), "only kernels/api may be included"),
    (_sample("src/ops/a.cc", "config/parse.h"), "of config others include only"),
    (_sample("src/telemetry/a.cc", "model/bert.h"), "only through observer.h"),
    (_sample("src/report/a.cc", "train/trainer.h"), "report is level 5 and train is level 5"),
    (_sample("src/telemetry/a.cc", "report/a.h"), "telemetry is level 4 and report is level 5"),
    (_sample("src/tools/a.cc", "data_tools/prepare.h"), "tools is level 6 and data_tools is level 6"),
    (_sample("kernels/cpu/a.cc", "config/run_config.h"), "kernels include core only"),
    (_sample("kernels/reference/a.cc", "kernels/cpu/a.h"), "kernels/api and itself only"),
    (_sample("kernels/cuda/a.cu", "config/run_config.h"), "kernels include core only"),
    (_sample("kernels/cuda/a.cuh", "kernels/cpu/a.h"), "kernels/api and itself only"),
    (_sample("kernels/cuda_absent/a.cc", "kernels/cuda/a.cuh"), "kernels/api and itself only"),
    (_sample("src/ops/a.cc", "kernels/cuda/launch.cuh"), "only kernels/api may be included"),
    (_sample("src/core/a.cc", "check.h") | {"src/core/check.h": ""}, "write it from the root"),
    (_sample("src/novel/a.cc", "core/check.h"), "module 'novel' is not in the table"),
]

if __name__ == "__main__":
    sys.exit(style_check.main(sys.modules[__name__]))
