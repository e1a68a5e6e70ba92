"""Scores: the figures of each arm with intervals, and their paired differences from the reference.

Derived from the files that a comparison left, whenever they are to be shown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import files
from ablate2tune.compare.judge_error import CALIBRATION, Reading, calibration_of
from ablate2tune.compare.metrics import Metric, metrics
from ablate2tune.compare.relation_reading import right_kind
from ablate2tune.compare.shown import ABOUT, Shown
from ablate2tune.errors import UserError
from ablate2tune.statistics.rates import Counts, Difference, Rate, cluster_counts, difference, rate
from ablate2tune.statistics.resampling import Resampling

FILE = "scores.json"
SCHEMA = "ablate2tune/scores/2"
DRAWN: tuple[str, ...] = ("right", "opposite", "other kind", "unclear", "missing")
"""What a picture shows of the relation that was asked for: it; its opposite; another kind of
arrangement; none that can be read; or an object is missing."""


@dataclass(frozen=True)
class Figures:
    """The figures of an arm, or of its differences from the reference."""

    overall: Mapping[str, Rate]
    """By metric."""
    per_relation: Mapping[str, Mapping[str, Rate]]
    """By relation and metric."""
    drawn: Mapping[str, Mapping[str, int]]
    """Pictures by the relation asked for and what they show (`DRAWN`); empty for differences."""

    def as_dict(self) -> dict[str, Any]:
        """As in the result file."""
        told = asdict(self)
        if not self.drawn:
            del told["drawn"]
        return {**told.pop("overall"), **told}

    @classmethod
    def of(cls, told: Mapping[str, Any], kind: type[Rate]) -> "Figures":
        """Figures as a result file holds them."""

        def read(rates: Mapping[str, Any]) -> dict[str, Rate]:
            return {key: kind(**rate) for key, rate in rates.items()}

        overall = read({k: v for k, v in told.items() if k not in ("per_relation", "drawn")})
        relations = {relation: read(rates) for relation, rates in told["per_relation"].items()}
        return cls(overall, relations, told.get("drawn", {}))


@dataclass(frozen=True)
class Scores:
    """The comparison's result, as in `scores.json`."""

    reference: str
    """The arm with which the others are compared."""
    arms: Mapping[str, Figures]
    difference: Mapping[str, Figures]
    """Every other arm minus the reference, paired."""
    judge: dict[str, Any] | None
    """The judge's description, and its `calibration`: its own error on rendered scenes."""
    prompts: int
    """Relation prompts."""
    plain_prompts: int
    """Prompts without a relation."""
    seeds: int
    """Images per prompt and arm."""
    pairs: int
    """Pairs of objects, which are resampled whole."""
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """As in the result file."""
        told: dict[str, Any] = {"schema": SCHEMA, **vars(self)}
        for part in ("arms", "difference"):
            told[part] = {arm: figures.as_dict() for arm, figures in told.pop(part).items()}
        told["judge"] = told.pop("judge")
        return told


def score(
    arms: Mapping[str, Sequence[Shown]], reference: str, how: Resampling
) -> tuple[dict[str, Figures], dict[str, Figures]]:
    """Figures of every arm, and of the difference of every other one from the reference.

    The arms show the same prompts and seeds; pairs of objects are resampled.
    """
    base = arms[reference]
    judged = all(one.verdict is not None for one in base)
    counts = {
        arm: {
            key: _counts(metric, shown, base)
            for key, metric in metrics(judged).items()
            if arm != reference or not metric.of_two
        }
        for arm, shown in arms.items()
    }
    figures, differences = {}, {}
    for arm, own in counts.items():
        rates = {key: {part: rate(*x, how) for part, x in m.items()} for key, m in own.items()}
        figures[arm] = _figures(rates, _drawn(arms[arm]) if judged else {})
        if arm == reference:
            continue
        early = counts[reference]
        changes = {
            key: {part: difference(early[key][part], late, how) for part, late in m.items()}
            for key, m in own.items()
            if key in early
        }
        differences[arm] = _figures(changes, {})
    return figures, differences


def derive_scores(
    folder: Path, arms: Mapping[str, Sequence[Shown]], reference: str, how: Resampling
) -> Scores | None:
    """Write the scores of a comparison below its folder.

    None if no judge has read the pictures and no metric does without.
    """
    (folder / FILE).unlink(missing_ok=True)
    figures, differences = score(arms, reference, how)
    if not any(one.overall for one in figures.values()):
        return None
    shown, judge = arms[reference], files.read_json(folder / ABOUT)["judge"]
    if judge is not None:
        readings = [Reading.of(row) for row in files.read_jsonl(folder / CALIBRATION)]
        judge = {**judge, "calibration": asdict(calibration_of(readings, how))}
    first = [one for one in shown if one.repeat == 0]
    scores = Scores(
        reference,
        figures,
        differences,
        judge,
        prompts=sum(one.prompt.relation is not None for one in first),
        plain_prompts=sum(one.prompt.relation is None for one in first),
        seeds=len(shown) // len(first),
        pairs=len({one.cluster for one in shown}),
        confidence=how.confidence,
    )
    files.write_json(folder / FILE, scores.as_dict())
    return scores


def read_scores(path: Path) -> Scores:
    """Read a `scores.json` back.

    Raises:
        UserError: the file is missing, is not JSON, or is not of this schema.
    """
    told = files.read_json(path)
    if told.pop("schema", None) != SCHEMA:
        raise UserError(f"not a result of schema {SCHEMA}", where=str(path))
    for part, kind in (("arms", Rate), ("difference", Difference)):
        told[part] = {arm: Figures.of(figures, kind) for arm, figures in told[part].items()}
    return Scores(**told)


def drawn(shown: Shown) -> str:
    """What a picture shows of the relation that was asked for, one of `DRAWN`."""
    asked, read = str(shown.prompt.relation), shown.read.relation_read
    if not shown.read.objects:
        return "missing"
    if read is None:
        return "unclear"
    if read == asked:
        return "right"
    return "opposite" if right_kind(asked, read) else "other kind"


def _counts(metric: Metric, shown: Sequence[Shown], base: Sequence[Shown]) -> dict[str, Counts]:
    """Sums and numbers of the metric's values over clusters, overall ("") and by relation."""
    values = np.array(
        [metric.value(one, other) for one, other in zip(shown, base, strict=True)], dtype=float
    )
    counted = np.isfinite(values)
    clusters = np.array([one.cluster for one in shown])
    relations = np.array([one.prompt.relation or "" for one in shown])
    chosen = {"": np.ones(len(shown), bool)}
    if metric.by_relation:
        chosen |= {name: relations == name for name in sorted({*relations} - {""})}
    return {
        name: cluster_counts(np.where(counted, values, 0.0)[of], counted[of], clusters[of])
        for name, of in chosen.items()
    }


def _figures(found: Mapping[str, Mapping[str, Rate]], drawn: dict[str, dict[str, int]]) -> Figures:
    relations = sorted({part for parts in found.values() for part in parts} - {""})
    return Figures(
        {key: parts[""] for key, parts in found.items()},
        {
            relation: {key: parts[relation] for key, parts in found.items() if relation in parts}
            for relation in relations
        },
        drawn,
    )


def _drawn(shown: Sequence[Shown]) -> dict[str, dict[str, int]]:
    """How many pictures show what, by the relation that was asked for."""
    asked = [one for one in shown if one.prompt.relation]
    counts = Counter((one.prompt.relation, drawn(one)) for one in asked)
    relations = sorted({str(one.prompt.relation) for one in asked})
    return {name: {what: counts[name, what] for what in DRAWN} for name in relations}
