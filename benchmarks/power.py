"""What a race can tell: labels, intervals and settled places of simulated margins.

    python benchmarks/power.py                     all cases; about two minutes on one core
    python benchmarks/power.py --budgets 0.1 0.4   other budgets
    python benchmarks/power.py --runs 20           a quick look

A simulated model has blocks and sub-layers, and pictures in contrast groups of two. Impacts are one
standard deviation of noise per picture: a part of it the group's, a part of it what moves every
component alike, as in a sweep of the testbed's first edition (7 blocks, until commit 495c38f). They
go through the race, the statistics and the labels that `localize` uses; only the model is missing.
Truths:

- one: one sub-layer carries the skill, with an impact of one standard deviation of a picture;
- many: impacts fall from one standard deviation by a fifth from each component to the next;
- none: the baseline has its margin, but no component an impact;
- exchanged: captions and foils are exchanged at random, so that there is no skill at all.

Printed per case: the share of runs in which the true component is labelled helps, and in which it
comes first; which part of the labels are false (where none can be true: in which share of runs
there is one); the share of intervals that hold the true impact; how many of the best eight by truth
are chosen; the share of runs in which a place is called settled and is wrong; how many of the eight
places are settled; and block evaluations, as a part of the exhaustive sweep's.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate2tune.components import Component
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.group_race import race_over_groups
from ablate2tune.localize.measuring.racing import BUDGET, spread_order
from ablate2tune.localize.measuring.results import Results
from ablate2tune.localize.probes.margin import MarginProbe
from ablate2tune.localize.ranking.decided import places_by_impact
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.localize.ranking.row import Row
from ablate2tune.seeding import numpy_generator

GROUPS, PICTURES = 96, 2
"""As in the recipes for large models."""
GROUP_SHARE = 0.1
"""Of a component's noise variance: the group's, which its pictures have in common."""
SHARED = 0.3
"""Of it: what moves all components and the baseline's margin alike; impacts in the
testbed's first edition correlated at .54 with the baseline's margin, picture by picture, and at .43
with each other."""
SCREENING = 0.7
"""Correlation of a gradient's estimate with the impact, picture by picture."""
MARGIN = 0.5
"""The baseline's mean margin, in its standard deviations over pictures, as that edition's."""
BEST = 8
NAMES = [f"{i // PICTURES:02d}" for i in range(GROUPS * PICTURES)]
FIGURES = [figure for figure in MarginProbe.figures if figure.role != "control"]


class Shape(NamedTuple):
    """A model's depth, and whether gradients screen it."""

    name: str
    blocks: int
    parts: int
    """Sub-layers of a block."""
    screened: bool

    @property
    def components(self) -> list[Component]:
        """Blocks, then their sub-layers; each supplies one module."""
        blocks = [_component(f"b.{i}", "block", i) for i in range(self.blocks)]
        parts = [(i, part) for i in range(self.blocks) for part in range(self.parts)]
        return blocks + [_component(f"b.{i}.{part}", "sublayer", i) for i, part in parts]


SHAPES = [Shape("testbed, 7 blocks", 7, 3, False), Shape("FLUX.1, 57 blocks", 57, 3, True)]
TRUTHS = ["one", "many", "none", "exchanged"]


class Outcome(NamedTuple):
    """One run; nan where a figure has no meaning for the truth."""

    helps: float = np.nan
    first: float = np.nan
    false: float = np.nan
    covered: float = np.nan
    chosen: float = np.nan
    wrong: float = np.nan
    settled: float = np.nan
    cost: float = np.nan


class Drawn(Results):
    """Rows that lie in memory, and are there for the statistics once they are measured."""

    def __init__(self, figures: dict[Condition, dict[str, np.ndarray]]):
        """Nothing is measured yet; figures are (pictures,)."""
        names = [figure.name for figure in FIGURES]
        super().__init__(Path("rows-in-memory"), NAMES_OF_PICTURES, NAMES, names, [], "drawn")
        for condition, values in figures.items():
            self._values[condition] = {name: x[:, None] for name, x in values.items()}

    def measure(self, conditions: Sequence[Condition], groups: Sequence[str]) -> None:
        """Give the statistics some groups of some conditions."""
        now = np.isin(NAMES, list(groups))
        for condition in conditions:
            self._measured[condition] = self.measured(condition) | now


NAMES_OF_PICTURES = [str(i) for i in range(len(NAMES))]


def main() -> None:
    """Simulate, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--budgets", nargs="*", type=float, default=[BUDGET])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--shapes", nargs="*", type=int, default=list(range(len(SHAPES))))
    parser.add_argument("--truths", nargs="*", choices=TRUTHS, default=TRUTHS)
    parser.add_argument("--noise", choices=list(NOISES), default="normal")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(f"{'':38}" + "".join(f"{name:>10}" for name in Outcome._fields))
    records = []
    for shape in (SHAPES[i] for i in options.shapes):
        for budget in options.budgets:
            for truth in options.truths:
                began = time.perf_counter()
                runs = range(max(10, options.runs * 7 // shape.blocks))
                found = [simulate(shape, truth, budget, options.noise, run) for run in runs]
                means = _means(found)
                record = {"shape": shape.name, "budget": budget, "truth": truth, "runs": len(runs)}
                records.append(record | {"noise": options.noise} | means)
                row = f"{shape.name}, {budget}, {truth} ({len(runs)})"
                took = f"{time.perf_counter() - began:8.1f} s"
                print(f"{row:38}" + "".join(map(_shown, means.values())) + took, flush=True)
    if options.out:
        options.out.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


def simulate(shape: Shape, truth: str, budget: float, noise: str, run: int) -> Outcome:
    """One run of `localize` on a simulated model."""
    rng = numpy_generator(run, f"power {shape.name} {truth} {noise}")
    components = shape.components
    true = impacts(truth, shape, rng)
    alike = NOISES[noise](rng, len(NAMES))
    base = MARGIN + alike
    lost = true[:, None] + noises(rng, len(components), alike, noise)
    if truth == "exchanged":
        signs = np.repeat(rng.choice([-1.0, 1.0], GROUPS), PICTURES)
        base, lost = signs * base, signs * lost
    conditions = [Condition((part.address,), "skip") for part in components]
    rows = Drawn(_figures(base, conditions, lost))
    rows.measure([BASELINE], NAMES)
    screened = None
    if shape.screened:
        own = np.sqrt(1 / SCREENING**2 - 1) * NOISES[noise](rng, lost.shape)
        screened = Drawn(_figures(base, conditions, lost + own))
        screened.measure([BASELINE, *conditions], NAMES)
    config = LocalizeConfig(sigmas=[1.0], confidence=0.95)
    analysis = Analysis(rows, NAMES, FIGURES, config, 0, screened)
    passes = 3.0 if screened else 1.0
    if not analysis.has_skill:
        return Outcome(false=0.0, cost=1.0 / (1 + len(components)))
    payable = budget * (1 + len(components)) - passes
    ranked, spent, settled = [], passes, None
    for level in ("block", "sublayer"):
        measured = [
            pair for pair in zip(components, conditions, strict=True) if pair[0].level == level
        ]
        part = payable * len(measured) / len(components) * shape.blocks * len(NAMES)
        wanted = BEST if level == "sublayer" else 0
        used = race_over_groups(
            analysis,
            {condition: 1 for _, condition in measured},
            wanted,
            part,
            NAMES,
            spread_order(NAMES, base, run),
            lambda c, n: n * _depth(c, shape),
            lambda n: n * shape.blocks,
            rows.measure,
        )
        spent += used / (shape.blocks * len(NAMES))
        ranked += analysis.rows(measured)
        if wanted:
            counted = {c: rows.measured(c) for _, c in measured}
            settled = places_by_impact(analysis, counted, [1] * len(measured), wanted)
    return _outcome(analysis.over_levels(ranked), components, true, settled, spent)


def impacts(truth: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """True impacts of blocks and sub-layers, in standard deviations of a picture."""
    found = np.zeros(shape.blocks * (1 + shape.parts))
    count = shape.blocks * shape.parts
    order = shape.blocks + rng.permutation(count)
    if truth == "one":
        found[order[0]] = 1.0
    if truth == "many":
        found[order] = 0.8 ** np.arange(count)
    return found


NOISES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy": lambda rng, size: rng.standard_t(4, size=size) / np.sqrt(2),
    "skewed": lambda rng, size: rng.exponential(size=size) - 1,
}


def noises(rng: np.random.Generator, count: int, alike: np.ndarray, kind: str) -> np.ndarray:
    """What is not impact, (components, pictures), of variance one; `alike` is the baseline's."""
    draw = NOISES[kind]
    groups = np.repeat(draw(rng, (count, GROUPS)), PICTURES, axis=1)
    own = draw(rng, (count, len(NAMES)))
    rest = 1 - SHARED - GROUP_SHARE
    return np.sqrt(SHARED) * alike + np.sqrt(GROUP_SHARE) * groups + np.sqrt(rest) * own


def _component(address: str, level: Any, block: int) -> Component:
    home = f"b.{block}"
    return Component(address, level, level, "Part", 1, home, block, None, (f"{address}.q",))


def _depth(condition: Condition, shape: Shape) -> int:
    """Blocks that are computed where the ones before are replayed."""
    return shape.blocks - int(condition.addresses[0].split(".")[1])


def _figures(
    base: np.ndarray, conditions: Sequence[Condition], lost: np.ndarray
) -> dict[Condition, dict[str, np.ndarray]]:
    quality = np.full(len(base), -9.0)
    found = {c: base - row for c, row in zip(conditions, lost, strict=True)} | {BASELINE: base}
    return {c: {"target": margins, "quality": quality} for c, margins in found.items()}


def _outcome(
    rows: Sequence[Row],
    components: Sequence[Component],
    true: np.ndarray,
    settled: Any,
    spent: float,
) -> Outcome:
    truth = {part.address: value for part, value in zip(components, true, strict=True)}
    best = max(truth, key=lambda address: truth[address])
    of = {row.component.address: row for row in rows}
    some = truth[best] > 0
    labelled = [a for a, row in of.items() if row.label != "neutral"]
    false = sum(truth[a] == 0 for a in labelled) / max(1, len(labelled))
    held = [row.target["low"] <= truth[a] <= row.target["high"] for a, row in of.items()]
    parts = [part.address for part in components if part.level == "sublayer"]
    graded = len({truth[a] for a in parts}) == len(parts)
    top = sorted(parts, key=lambda a: -truth[a])[:BEST]
    first = sorted(parts, key=lambda a: of[a].rank)[:BEST]
    wrong = [
        v == ("out" if a in top else "in") for a, v in zip(parts, settled.verdicts, strict=True)
    ]
    return Outcome(
        helps=float(of[best].label == "helps") if some else np.nan,
        first=float(first[0] == best) if some else np.nan,
        false=float(false),
        covered=float(np.mean(held)),
        chosen=len({*top} & {*first}) / BEST if graded else np.nan,
        wrong=float(any(wrong)) if graded else np.nan,
        settled=settled.verdicts.count("in") / BEST,
        cost=spent / (1 + len(components)),
    )


def _means(found: Sequence[Outcome]) -> dict[str, float]:
    columns = np.array(found, float)
    known = np.isfinite(columns)
    totals = np.where(known, columns, 0).sum(0) / np.maximum(1, known.sum(0))
    return {
        name: float(value) if any_ else float("nan")
        for name, value, any_ in zip(Outcome._fields, totals, known.any(0), strict=True)
    }


def _shown(value: float) -> str:
    return f"{'–' if np.isnan(value) else f'{value:.3f}':>10}"


if __name__ == "__main__":
    main()
