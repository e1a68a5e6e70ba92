"""`results.jsonl`: one row per condition and example, appended as they come, resumable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ablate2tune import runs
from ablate2tune.ablation import Ablation, Mode
from ablate2tune.localize.margin import Margins

SCHEMA = "ablate2tune/result/1"
PROBE = "margin"


@dataclass(frozen=True)
class Condition:
    """What is ablated while the examples are measured."""

    addresses: tuple[str, ...] = ()
    """Empty for the baseline."""
    mode: Mode | Literal["none"] = "none"

    @property
    def ablations(self) -> list[Ablation]:
        """What to ablate; nothing for the baseline."""
        if self.mode == "none":
            return []
        return [Ablation(address, self.mode) for address in self.addresses]

    def __str__(self) -> str:
        return f"{self.mode} {', '.join(self.addresses)}" if self.addresses else "baseline"


class Results:
    """The rows of a sweep, on disk and in memory; only whole conditions count."""

    def __init__(self, path: Path, examples: Sequence[str], groups: Sequence[str]):
        """Read what an earlier run left; rows of a condition that it did not finish are dropped.

        Args:
            path: the file.
            examples: ids of the measured examples.
            groups: the contrast group of each.
        """
        self._path, self._examples, self._groups = path, list(examples), list(groups)
        self._margins: dict[Condition, Margins] = {}
        rows = runs.read_jsonl(path)
        by_condition: dict[Condition, list[dict[str, Any]]] = {}
        for row in rows:
            condition = Condition(tuple(row["condition"]), row["mode"])
            by_condition.setdefault(condition, []).append(row)
        whole = {
            condition: kept
            for condition, kept in by_condition.items()
            if [row["example"] for row in kept] == self._examples
        }
        if len(whole) < len(by_condition):
            runs.write_jsonl(path, [row for kept in whole.values() for row in kept])
        for condition, kept in whole.items():
            self._margins[condition] = Margins(
                *(np.array([row["by_sigma"][name] for row in kept]) for name in Margins._fields)
            )

    def __contains__(self, condition: Condition) -> bool:
        return condition in self._margins

    def __getitem__(self, condition: Condition) -> Margins:
        return self._margins[condition]

    def add(self, condition: Condition, margins: Margins, seconds: float) -> None:
        """Append a condition's rows and flush them to the disk.

        Args:
            condition: what was ablated.
            margins: per example and noise level.
            seconds: wall time of the whole condition.
        """
        share = round(seconds / len(self._examples), 6)
        runs.append_jsonl(
            self._path,
            (
                {
                    "schema": SCHEMA,
                    "condition": list(condition.addresses),
                    "mode": condition.mode,
                    "probe": PROBE,
                    "example": example,
                    "group": self._groups[index],
                    **{
                        name: float(values[index].mean())
                        for name, values in margins._asdict().items()
                    },
                    "seconds": share,
                    "by_sigma": {
                        name: values[index].tolist() for name, values in margins._asdict().items()
                    },
                }
                for index, example in enumerate(self._examples)
            ),
        )
        self._margins[condition] = margins
