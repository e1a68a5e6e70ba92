"""Whether two sources of examples rank components alike: Spearman with a bootstrap interval.

Read from the rows that both sweeps left. Contrast groups are resampled, the same ones for both
sources, since a rendered picture and the model's own of one group share their captions. Each
resample adds noise to both rankings, so the interval leans towards zero.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate2tune import files
from ablate2tune.localize.ranking.figures import new_figure, write_figure
from ablate2tune.statistics.clusters import Interval
from ablate2tune.statistics.rank_stability import spearman, spearman_rows
from ablate2tune.statistics.resampling import Resampling, weights

SCHEMA = "ablate2tune/agreement/2"
LEVELS = ("block", "sublayer", "head")
FEWEST = 3
"""Components under which no correlation is given."""


class Impacts(NamedTuple):
    """Spatial impacts of components, summed by contrast group."""

    groups: list[str]
    sums: np.ndarray
    """Float64, (components, groups)."""
    counts: np.ndarray
    """Examples that were measured, (components, groups)."""


def read_impacts(folder: Path, addresses: Sequence[str], groups: Sequence[str]) -> Impacts:
    """Impacts of single components from a sweep's results.jsonl.

    Args:
        folder: of the sweep.
        addresses: components.
        groups: contrast groups; a group that the sweep lacks counts nothing.
    """
    rows = [row for row in files.read_jsonl(folder / "results.jsonl") if row["target"] is not None]
    base = {row["example"]: row["target"] for row in rows if not row["condition"]}
    place = {address: i for i, address in enumerate(addresses)}
    column = {group: i for i, group in enumerate(groups)}
    sums, counts = np.zeros((2, len(addresses), len(groups)))
    for row in rows:
        if len(row["condition"]) != 1 or row["condition"][0] not in place:
            continue
        if row["group"] in column and row["example"] in base:
            at = place[row["condition"][0]], column[row["group"]]
            sums[at] += base[row["example"]] - row["target"]
            counts[at] += 1
    return Impacts(list(groups), sums, counts)


def measured_groups(folder: Path) -> list[str]:
    """Contrast groups of a sweep's examples, sorted."""
    rows = files.read_jsonl(folder / "results.jsonl")
    return sorted({row["group"] for row in rows if not row["condition"]})


def correlation(first: Impacts, second: Impacts, how: Resampling) -> Interval | None:
    """Spearman's correlation of mean impacts, with its percentile interval over groups.

    Args:
        first: of one source.
        second: of the other, the same components and groups.
        how: resampling of the groups.

    Returns:
        None for fewer than three components, or one that a source did not measure at all.
    """
    components, groups = first.sums.shape
    if components < FEWEST or any((x.counts.sum(1) == 0).any() for x in (first, second)):
        return None
    value = spearman(*(x.sums.sum(1) / x.counts.sum(1) for x in (first, second)))
    drawn = weights(how.seed, "agreement", how.bootstrap, groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [(drawn @ x.sums.T) / (drawn @ x.counts.T) for x in (first, second)]
    whole = np.isfinite(means[0]).all(1) & np.isfinite(means[1]).all(1)
    found = spearman_rows(means[0][whole], means[1][whole])
    if not len(found):
        return None
    low, high = how.bounds(found)
    return {"value": value, "low": low, "high": high, "n": components}


def agreement(
    rendered: Path,
    own: Path,
    rankings: Sequence[dict[str, Any]],
    how: Resampling,
) -> dict[str, Any]:
    """The contents of `agreement.json`.

    Args:
        rendered: folder of the sweep on rendered pictures.
        own: folder of the sweep on the model's own.
        rankings: contents of their ranking.json, in this order.
        how: resampling of the contrast groups.
    """
    rows = [{row["address"]: row for row in data["components"]} for data in rankings]
    groups = sorted({*measured_groups(rendered), *measured_groups(own)})
    levels: dict[str, Any] = {}
    for level in LEVELS:
        shared = [
            address
            for address, row in rows[0].items()
            if row["level"] == level and address in rows[1]
        ]
        if not shared:
            continue
        first, second = (read_impacts(folder, shared, groups) for folder in (rendered, own))
        levels[level] = {
            "spearman": correlation(first, second, how),
            "components": [
                {
                    "address": address,
                    **{
                        source: {
                            "rank_in_level": found[address]["rank_in_level"],
                            "target": found[address]["target"],
                            "relative": found[address]["relative"]["target"],
                        }
                        for source, found in zip(("rendered", "own"), rows, strict=True)
                    },
                }
                for address in shared
            ],
        }
    return {
        "schema": SCHEMA,
        "figure": "target impact on rendered pictures and on the model's own",
        "confidence": how.confidence,
        "baseline": {
            source: data["baseline"]["target"]
            for source, data in zip(("rendered", "own"), rankings, strict=True)
        },
        "levels": levels,
    }


def line(data: dict[str, Any]) -> str:
    """The agreement, for people."""
    parts = []
    for level, found in data["levels"].items():
        known = found["spearman"]
        if known:
            parts.append(
                f"{level}s {known['value']:.2f} [{known['low']:.2f}, {known['high']:.2f}] "
                f"over {known['n']}"
            )
    if not parts:
        return "rendered and own pictures: no agreement can be given, too few shared components"
    return f"rendered and own pictures agree by Spearman: {'; '.join(parts)}"


def draw_agreement(data: dict[str, Any], path: Path) -> None:
    """A point per component: its impact on rendered pictures against that on the model's own."""
    figure, axes = new_figure(6, 5.5)
    for number, (level, found) in enumerate(data["levels"].items()):
        points = [
            tuple(part[source]["target"]["value"] for source in ("rendered", "own"))
            for part in found["components"]
        ]
        axes.scatter(*np.array(points).T, s=14, color=f"C{number}", label=level)
        for part, point in zip(found["components"], points, strict=True):
            axes.annotate(part["address"], point, fontsize=5, alpha=0.7)
    axes.axhline(0, color="0.8", linewidth=0.8)
    axes.axvline(0, color="0.8", linewidth=0.8)
    axes.set_xlabel("target impact on rendered pictures")
    axes.set_ylabel("target impact on the model's own pictures")
    axes.set_title(line(data), fontsize=7)
    if data["levels"]:
        axes.legend(fontsize=8)
    write_figure(figure, path)
