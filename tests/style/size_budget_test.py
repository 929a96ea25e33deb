"""Sizes: a file has at most 500 lines (300 wanted), a function at most 80 (40 wanted; 120 in
kernels/), and takes at most 6 parameters, else a struct. What must be larger is named in
tests/style/exceptions.txt with its reason; an exception that is not needed any more is a problem."""

import re
import sys

import style_check

FILE_LINES, FILE_LINES_WANTED = 500, 300
FUNCTION_LINES, FUNCTION_LINES_WANTED = 80, 40
KERNEL_FUNCTION_LINES = 120
PARAMETERS = 6
FILE_ENDINGS = (".h", ".cc", ".cu", ".cuh", ".py", ".sh", ".cmake", "CMakeLists.txt", "run")
EXCEPTIONS = "tests/style/exceptions.txt"

# Stands between a kernel's type and its name, with brackets of its own.
_LAUNCH_BOUNDS = re.compile(r"__launch_bounds__\([^()]*\)")
_PREPROCESSOR = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_NOT_A_FUNCTION = re.compile(r"\b(?:if|for|while|switch|catch|return|do|else|new)\b")
_SCOPE = re.compile(r"\b(?:namespace|class|struct|union|enum|extern)\b")


def functions(text):
    """[(name, first line, lines, parameters)] of the function definitions in C++ text, by brackets:
    good enough for formatted code, and blind to functions that macros define."""
    text = style_check.without_comments_and_strings(text)
    text = _LAUNCH_BOUNDS.sub(lambda found: re.sub(r"[^\n]", " ", found.group(0)), text)
    text = _PREPROCESSOR.sub(lambda found: re.sub(r"[^\n]", " ", found.group(0)), text)
    found, scopes, head_start, depth = [], [], 0, 0
    for match in re.finditer(r"[(){};]", text):
        mark, offset = match.group(0), match.start()
        if mark in "()":
            depth += 1 if mark == "(" else -1
        elif mark == "{":
            head = text[head_start:offset]
            inside = any(kind != "scope" for kind, _ in scopes)
            kind, detail = "block", None
            if depth == 0 and not inside:
                kind, detail = _judge(head, offset, head_start)
            scopes.append((kind, detail))
            if depth == 0 and kind != "block":
                head_start = offset + 1
        elif mark == "}" and scopes:
            kind, detail = scopes.pop()
            if kind == "function":
                name, start, parameters = detail
                start += len(text[start:]) - len(text[start:].lstrip())
                first = style_check.line_of(text, start)
                found.append((name, first, style_check.line_of(text, offset) - first + 1, parameters))
            if depth == 0 and kind != "block":
                head_start = offset + 1
        elif mark == ";" and depth == 0 and all(kind == "scope" for kind, _ in scopes):
            head_start = offset + 1
    return found


def _judge(head, offset, head_start):
    """Is `head {` a scope, a function, or something else, such as an initializer?"""
    bracket = head.find("(")
    before = head if bracket < 0 else head[:bracket]
    if bracket >= 0 and not _NOT_A_FUNCTION.search(before) and "=" not in before.replace("operator", ""):
        name = re.search(r"([\w:~]+|operator\s*\S+)\s*$", before)
        parameters, after = _parameters(head[bracket:])
        # a constructor's member list may itself have braces: `: a_{1}, b_(2) {`
        if name and not re.search(r":\s*[\w<>:]+$|,\s*\w+$", after.rstrip()):
            return "function", (name.group(1), head_start, parameters)
        return "block", None
    if _SCOPE.search(before) and "=" not in before:
        return "scope", None
    return "block", None


def _parameters(head):
    """How many parameters the list that `head` begins with has, and what follows the list."""
    depth, angle, commas, empty = 0, 0, 0, True
    for offset, mark in enumerate(head):
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
            if depth == 0:
                return (0 if empty else commas + 1), head[offset + 1 :]
        elif mark == "<":
            angle += 1
        elif mark == ">":
            angle -= 1
        elif mark == "," and depth == 1 and angle == 0:
            commas += 1
        if depth >= 1 and mark not in "( \n\t":
            empty = False
    return commas, ""


def read_exceptions(tree):
    """({key: limit}, problems): lines "PATH LIMIT reason" or "PATH:FUNCTION LIMIT reason" or
    "PATH:FUNCTION() LIMIT reason" (parameters); # begins a comment."""
    limits, problems = {}, []
    if not tree.exists(EXCEPTIONS):
        return limits, problems
    for number, line in enumerate(tree.text(EXCEPTIONS).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split(None, 2)
        if len(parts) < 3 or not parts[1].isdigit() or len(parts[2].split()) < 3:
            problems.append(f"{EXCEPTIONS}:{number}: wanted: path[:function[()]] limit reason-in-words")
        else:
            limits[parts[0]] = int(parts[1])
    return limits, problems


def measure(tree):
    """(key, size, hard limit, wanted, place, what) of everything that has a budget."""
    for path in tree.paths:
        if path.endswith(FILE_ENDINGS):
            lines = tree.text(path).count("\n")
            yield path, lines, FILE_LINES, FILE_LINES_WANTED, f"{path}:1", "lines"
    for path in tree.cpp():
        hard = KERNEL_FUNCTION_LINES if path.startswith("kernels/") else FUNCTION_LINES
        for name, line, lines, parameters in functions(tree.text(path)):
            place = f"{path}:{line}: {name}"
            yield f"{path}:{name}", lines, hard, FUNCTION_LINES_WANTED, place, "lines"
            yield f"{path}:{name}()", parameters, PARAMETERS, PARAMETERS, place, "parameters"


def check(tree):
    limits, problems = read_exceptions(tree)
    used, wanted_count = set(), {}
    for key, size, hard, wanted, place, what in measure(tree):
        if key in limits and size > hard:
            used.add(key)
        if size > max(hard, limits.get(key, 0)):
            problems.append(f"{place} has {size} {what}, at most {max(hard, limits.get(key, 0))} allowed")
        elif size > wanted:
            kind = "function" if ":" in key else "file"
            wanted_count[kind] = wanted_count.get(kind, 0) + 1
    problems += [f"{EXCEPTIONS}:1: '{key}' needs no exception any more" for key in limits if key not in used]
    for kind, count in sorted(wanted_count.items()):
        print(f"note: {count} {kind}s are larger than wanted, within the hard limit")
    return problems


def _function(lines, head="void Long(int a) {"):
    return "namespace n {\n" + head + "\n" + "  f();\n" * (lines - 2) + "}\n}  // namespace n\n"


GOOD = {
    "src/core/a.cc": _function(80) + "#define X(a) \\\n  if (a) {\nconst char* b = \"{\";  // {\n",
    "kernels/cpu/a.cc": _function(119, "template <typename T>\nabsl::Status Long(const Args<T>& a) {"),
    "src/core/b.h": "struct S {\n" + "  int i;\n" * 200 + "};\nint a[] = {\n" + "1,\n" * 90 + "};\n"
    + "S::S(int a) : a_(a), b_{a} {\n  if (a) {\n  }\n}\nvoid Six(int a, P<1, 2> b, int c, int d, int e, int f) {}\n",
    "src/core/c.cc": _function(90),
    EXCEPTIONS: "# path limit reason\nsrc/core/c.cc:Long 90 a table, one line an entry\n",
}
BAD = [
    ({"src/core/a.h": "//\n" * 501}, "has 501 lines, at most 500"),
    ({"src/core/a.cc": _function(81)}, "Long has 81 lines, at most 80"),
    ({"src/core/a.cc": _function(81, "S::S(int a) : a_(a), b_{a} {")}, "S::S has 81 lines"),
    ({"src/core/a.cc": "class A {\n" + _function(82, "  int Get() const {")[14:] + "};\n"}, "Get has"),
    ({"kernels/cuda/a.cu": _function(121, "__global__ void __launch_bounds__(256) Long(int a) {")}, "Long has 121"),
    ({"kernels/cuda/a.cuh": "//\n" * 501}, "has 501 lines, at most 500"),
    ({"kernels/cpu/a.cc": _function(121)}, "Long has 121 lines, at most 120"),
    ({"src/core/a.cc": "int Seven(int a, int b, int c, M<1, 2> d, int e, int f, int g) {\n}\n"}, "7 parameters"),
    ({"src/core/a.cc": _function(70), EXCEPTIONS: "src/core/a.cc:Long 90 a long table\n"}, "needs no exception"),
    ({"src/core/a.cc": _function(70), EXCEPTIONS: "src/core/a.cc:Long 90\n"}, "wanted: path"),
    ({"src/core/a.cc": _function(99), EXCEPTIONS: "src/core/a.cc:Long 90 a long table\n"}, "at most 90"),
]

if __name__ == "__main__":
    sys.exit(style_check.main(sys.modules[__name__]))
