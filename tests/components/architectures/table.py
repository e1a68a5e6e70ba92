"""Write docs/architectures.md: what holds for which class.

python -m tests.components.architectures.table docs/architectures.md
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import diffusers

from . import ALL
from .checks import CHECKS, StackReport, examine

TITLES = {
    "zeroing": "skip = zeros",
    "writers": "each writer counts",
    "deletion": "skip = deletion",
    "restores": "restores",
    "fires": "fires",
    "heads": "heads",
    "batched": "batched",
}


def header() -> str:
    """What the table says, and its head."""
    legend = "\n".join(f"- **{TITLES[name]}**: {meaning}." for name, meaning in CHECKS.items())
    return f"""# Architectures

What ablate2tune derives from the structure of {len(ALL)} transformer classes of diffusers
{diffusers.__version__}, and what the tests show of each on a tiny random model. A number points to
the reason, below the table, why a check cannot hold. Sub-layers that write to the residual stream
carry a star. This file is written by `python -m architectures.table ../../docs/architectures.md`
in `tests/components`.

{legend}

| class and stack | sub-layers | {" | ".join(TITLES.values())} |
|---|---|{"---|" * len(TITLES)}
"""


def rows(name: str, reports: Mapping[str, StackReport], notes: list[str]) -> list[str]:
    """The lines of one class; reasons are added to the notes."""
    found = []
    for stack, report in reports.items():
        cells = [
            "yes" if verdict.held else _note(notes, verdict.reason or "unexplained")
            for verdict in report.verdicts.values()
        ]
        whole = f"{name} `{stack}`"
        if report.exempt and len(report.exempt) < report.blocks:
            reason = next(iter(report.exempt.values()))
            whole += f" (but for the upper blocks: {_note(notes, reason)})"
        found.append(f"| {whole} | {', '.join(report.sublayers)} | {' | '.join(cells)} |")
    return found


def _note(notes: list[str], reason: str) -> str:
    if reason not in notes:
        notes.append(reason)
    return str(notes.index(reason) + 1)


def document() -> str:
    """The whole file."""
    notes: list[str] = []
    lines = [line for tiny in ALL for line in rows(tiny.name, examine(tiny), notes)]
    below = "\n".join(f"{number}. {reason}" for number, reason in enumerate(notes, 1))
    return header() + "\n".join(lines) + f"\n\n{below}\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document())
