"""docs/gpu_budgets.md has two parts, which two tests write: all before the heading of the second, and the rest."""

SECOND_PART = "## What they do on the emulator"


def first_part(text):
    return text.split(f"\n{SECOND_PART}")[0]


def second_part(text):
    parts = text.split(f"\n{SECOND_PART}")
    return f"\n{SECOND_PART}{parts[1]}" if len(parts) > 1 else ""


def with_first_part(text, part):
    return part + second_part(text)


def with_second_part(text, part):
    return first_part(text) + "\n" + part
