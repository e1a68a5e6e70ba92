"""Conditions of the user's own: named sets of components, ablated together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate2tune.ablation import MODES
from ablate2tune.ablation.specs import read_ablations
from ablate2tune.components import Catalogue
from ablate2tune.components.selections import parse
from ablate2tune.errors import UserError
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure
from ablate2tune.statistics.resampling import corrected

SCHEMA = "ablate2tune/conditions/1"
WHERE = "localize.joint.conditions"


def read_condition(catalogue: Catalogue, name: str, specs: Sequence[str], mode: str) -> Condition:
    """The condition of some addresses or patterns: `mode`, or what it gives to blocks.

    Raises:
        UserError: nothing is named, a pattern matches nothing, an address brings a mode of its own,
            or blocks and parts of blocks are mixed, which one condition cannot hold.
    """
    where = f"{WHERE}.{name}"
    ablations = read_ablations(catalogue, specs)
    own = [spec for spec in specs if spec.endswith(tuple(f"={a.mode}" for a in ablations))]
    if own:
        raise UserError(
            "the mode is localize.mode", where=f"{where}: {own[0]}", mend="leave =MODE out"
        )
    modes = {ablation.mode for ablation in ablations}
    if len(modes) != 1:
        what = "blocks and parts of blocks cannot be ablated in one" if modes else "names nothing"
        raise UserError(what, where=where, mend="name blocks alone, or parts alone")
    addresses = tuple(ablation.address for ablation in ablations)
    first = parse(addresses[0])
    whole = catalogue[first.path].level == "block" and first.kind is None
    return Condition(addresses, MODES[mode].block_mode if whole else mode)


def find_own(follow_up: FollowUp, conditions: Mapping[str, Condition]) -> Finding:
    """What is lost of every figure under each condition, paired by example.

    Args:
        follow_up: measures the conditions.
        conditions: by name.
    """
    follow_up.measure(conditions.values())
    impacts = {name: follow_up.impacts(condition) for name, condition in conditions.items()}
    raw = [follow_up.p(impact.target) for impact in impacts.values()]
    rows = [
        {
            "name": name,
            "condition": list(conditions[name].addresses),
            "mode": conditions[name].mode,
            **follow_up.means(impact),
            "p": p,
            "p_uncorrected": uncorrected,
        }
        for (name, impact), p, uncorrected in zip(impacts.items(), corrected(raw), raw, strict=True)
    ]
    data = {
        "schema": SCHEMA,
        "figure": "what is lost of the target under conditions of one's own",
        "confidence": follow_up.confidence,
        "groups": len(follow_up.groups),
        "baseline": follow_up.means(follow_up.margins(follow_up.baseline)),
        "conditions": rows,
    }
    told = ", ".join(f"{row['name']} {_value(row['target'])}" for row in rows)
    return Finding("conditions", data, draw_own, f"conditions of your own, lost: {told}")


def _value(interval: Any) -> str:
    if interval is None:
        return "not finite"
    return f"{interval['value']:.3g} [{interval['low']:.3g}, {interval['high']:.3g}]"


def draw_own(data: dict[str, Any], path: Path) -> None:
    """A bar per condition, with its interval."""
    rows = data["conditions"]
    figure, axes = new_figure(8, 1.4 + 0.32 * len(rows))
    value, low, high = bounds_of([row["target"] for row in rows])
    axes.barh(range(len(rows)), value, color="tab:blue", alpha=0.7)
    axes.hlines(range(len(rows)), low, high, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"{data['figure']}, with {100 * data['confidence']:.0f} % intervals")
    write_figure(figure, path)


def _find(ranked: Ranked) -> Finding:
    wanted, mode = ranked.config.joint.conditions, ranked.config.mode
    catalogue = ranked.sweep.catalogue
    return find_own(
        ranked.follow_up,
        {name: read_condition(catalogue, name, specs, mode) for name, specs in wanted.items()},
    )


FINDINGS.add("own_conditions", Kind(lambda ranked: bool(ranked.config.joint.conditions), _find))
