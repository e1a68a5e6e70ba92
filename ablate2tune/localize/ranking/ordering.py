"""What a ranking is ordered by: shown first wherever it is shown, and doubted where it must be."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ablate2tune.ablation import MODES


class Ordering(NamedTuple):
    """The figure that decides the order of the rows of ranking.json."""

    column: str
    """Its column in ranking.csv, and what it is called in the table."""
    key: str
    """Where a row holds it, as an interval."""
    title: str
    """What it is, for people."""

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row's interval; no value where it has none."""
        return row.get(self.key) or dict.fromkeys(("value", "low", "high"))


def ordering(ranking: dict[str, Any]) -> Ordering:
    """What the rows of a ranking are ordered by.

    Args:
        ranking: the contents of ranking.json.
    """
    figure = ranking["figure"]
    if ranking["ranked_by"] == "gradient":
        return Ordering("gain", "gain", "what an adapter could gain, to first order, per parameter")
    if ranking["ranked_by"] == "specificity":
        title = "share of the target that is lost minus share of the control"
        return Ordering("specificity", "specificity_interval", title)
    title = next(f["title"] for f in ranking["figures"] if f["name"] == figure)
    return Ordering(figure, figure, title)


def chosen(ranking: dict[str, Any]) -> list[str]:
    """Addresses of the components that hold the modules to tune; none where that is not told.

    Args:
        ranking: the contents of ranking.json.
    """
    choice = ranking.get("decided")
    if not choice:
        return []
    if joint := ranking.get("set"):
        return [entry["address"] for entry in joint[: choice["modules"]]]
    rows = [row for row in ranking["components"] if row["level"] == choice["level"]]
    rows.sort(key=lambda row: row["rank_in_level"])
    return [row["address"] for row in rows[: choice["components"]]]


def doubts(ranking: dict[str, Any], addresses: Sequence[str]) -> list[str]:
    """Why components that head a ranking may not be what the capability rests on, one line each.

    Args:
        ranking: the contents of ranking.json.
        addresses: of components, such as those that an adapter is put on.
    """
    by = ordering(ranking)
    rows = [row for row in ranking["components"] if row["address"] in set(addresses)]
    if not rows:
        return []
    found = []
    told = [row for row in rows if by.key == "gain" and (by.of(row)["low"] or 0) > 0]
    if by.key == "gain" and len(told) < len(rows):
        found.append(
            f"{len(rows) - len(told)} of the {len(rows)} that are ranked first have a gain that "
            "cannot be told from zero; their order is chance: raise localize.groups"
        )
    restores = any(MODES[row["mode"]].restores for row in rows)
    impacts = {row["address"]: row[ranking["figure"]]["value"] or 0.0 for row in rows}
    negative = [address for address, lost in impacts.items() if lost < 0 and not restores]
    if negative:
        found.append(
            f"{len(negative)} of the {len(rows)} that are ranked first have an impact below zero: "
            f"without {', '.join(negative[:3])}{' and others' if len(negative) > 3 else ''} the "
            "model measures better"
        )
    if all(row["label"] == "neutral" for row in rows):
        mend = "raise localize.budget, or set localize.racing=false"
        if ranking.get("scout"):
            mend = "raise localize.scout_steps, or localize.minutes"
        found.append(
            f"all {len(rows)} that are ranked first are neutral: no impact of theirs can be told "
            f"from zero; {mend}"
        )
    return found
