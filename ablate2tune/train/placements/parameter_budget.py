"""How much is trained: by a share of the parameters or of the impact, and ranks by impact."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from torch import nn

from ablate2tune.components import Catalogue, discover
from ablate2tune.errors import UserError
from ablate2tune.models.quantised.frozen_linear import packed_in
from ablate2tune.train.adapter import room
from ablate2tune.train.targets import (
    choose_targets,
    falls_back,
    in_order,
    walked,
    with_neighbours,
)
from ablate2tune.train.train_config import TrainConfig

Cost = Callable[[nn.Module, str, int], int]
"""Parameters that a module's adapter has at a rank."""


class Choice(NamedTuple):
    """What is adapted."""

    modules: list[str]
    ranks: dict[str, int]
    """Those of modules with a rank of their own."""


def choose(
    ranking: Mapping[str, Any] | None, config: TrainConfig, model: nn.Module, seed: int, cost: Cost
) -> Choice:
    """The modules of `choose_targets`; with `budget` or `share` as many as these allow instead.

    With a budget the modules are taken in their order, each that still fits; with a share until
    they hold that much of the impact of all that help. `ranks: impact` gives each module a rank
    proportional to its impact, within the budget or the parameters that one rank would take.

    Raises:
        UserError: what `choose_targets` raises, or nothing fits.
    """
    catalogue, ranks = discover(model), {}
    nothing = falls_back(ranking, config)
    if nothing or (config.budget is None and config.share is None):
        names = choose_targets(ranking, config, catalogue, seed)
    else:
        names = _as_many(ranking, config, model, catalogue, seed, cost)
    if config.ranks == "impact" and not nothing:
        impacts = impacts_of(ranking, names)
        most = budget_of(config.budget, model)
        total = most or sum(cost(model, name, config.rank) for name in names)
        ranks = proportional_ranks(model, names, impacts, total, cost)
    return Choice(names, ranks)


def _as_many(
    ranking: Mapping[str, Any] | None,
    config: TrainConfig,
    model: nn.Module,
    catalogue: Catalogue,
    seed: int,
    cost: Cost,
) -> list[str]:
    order = in_order(ranking, config, catalogue, seed)
    if config.share is not None:
        impacts = [max(0.0, value) for value in impacts_of(ranking, order).values()]
        wanted = config.share * sum(impacts)
        held = list(accumulate(impacts))
        if wanted <= 0:
            raise UserError("no module has an impact", where="train.share", mend="set train.count")
        last = next(i for i, value in enumerate(held) if value >= wanted * (1 - 1e-9))
        return with_neighbours(order[: last + 1], config, catalogue)
    left, names = budget_of(config.budget, model) or 0, []
    for name in order:
        needed = cost(model, name, config.rank)
        if needed <= left:
            left -= needed
            names.append(name)
    if not names:
        least = min(cost(model, name, config.rank) for name in order)
        raise UserError(
            f"no module fits: the smallest has {least:,} parameters at rank {config.rank}",
            where=f"train.budget = {config.budget}",
            mend="raise it, or lower train.rank",
        )
    return names


def budget_of(budget: str | int | None, model: nn.Module) -> int | None:
    """A budget in parameters: a number of them, or a share of the model's own ("1%")."""
    if budget is None or isinstance(budget, int):
        return budget
    share = float(re.sub(r"\s*%$", "", budget)) / 100
    return int(share * (sum(p.numel() for p in model.parameters()) + packed_in(model)))


def impacts_of(ranking: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, float]:
    """What each module's row lost of the figure that the ranking goes by, shared by its modules.

    A module of the ranking's set has there what it adds.

    Raises:
        UserError: the ranking says nothing of a module.
    """
    found: dict[str, float] = {}
    told = ranking or {"components": []}
    for row in walked(dict(told)):
        figure = row.get(told.get("ranked_by", "target"), row.get("target"))
        value = figure["value"] if isinstance(figure, Mapping) else figure
        for name in row["lora_targets"]:
            found.setdefault(name, float(value or 0.0) / len(row["lora_targets"]))
    for entry in told.get("set", []):
        found[entry["address"]] = float((entry["adds"] or {}).get("value") or 0.0)
    for name in names:
        if name not in found:
            raise UserError(
                "the ranking says nothing of it",
                where=name,
                mend="set train.ranks=uniform and train.count, or train.targets=top",
            )
    return {name: found[name] for name in names}


def proportional_ranks(
    model: nn.Module, names: Sequence[str], impacts: Mapping[str, float], total: int, cost: Cost
) -> dict[str, int]:
    """Ranks proportional to impacts, at least 1 and at most what a module has room for.

    They are the largest such ranks whose parameters are within `total`; where rank 1 everywhere is
    more than that, it is rank 1 everywhere.
    """

    def at(scale: float) -> dict[str, int]:
        return {
            name: min(room(model, name), max(1, round(scale * max(0.0, impacts[name]))))
            for name in names
        }

    def fits(scale: float) -> bool:
        return sum(cost(model, name, rank) for name, rank in at(scale).items()) <= total

    high = max((room(model, name) for name in names), default=1)
    most = max(impacts.values(), default=0.0)
    if most <= 0:
        return at(0.0)
    low, top = 0.0, 2 * high / min(value for value in impacts.values() if value > 0)
    if fits(top):
        return at(top)
    for _ in range(100):
        middle = (low + top) / 2
        low, top = (middle, top) if fits(middle) else (low, middle)
    return at(low)
