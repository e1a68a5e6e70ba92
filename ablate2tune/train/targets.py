"""Which modules an adapter goes on: by rank, at random, all, or a list."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ablate2tune.components import Catalogue, discover, select
from ablate2tune.errors import UserError
from ablate2tune.localize.ranking.ranking_file import NO_SKILL
from ablate2tune.seeding import numpy_generator
from ablate2tune.train.adapter import check_rank, room
from ablate2tune.train.placements.head_slices import attention_of
from ablate2tune.train.placements.placement import PRESETS
from ablate2tune.train.train_config import TrainConfig


def choose_targets(
    ranking: Mapping[str, Any] | None, config: TrainConfig, catalogue: Catalogue, seed: int
) -> list[str]:
    """Full names of the Linear modules to adapt, each once.

    top takes the first modules of the ranking's set; without one, or beyond it, it walks the ranked
    Linears (where these were ranked, else sub-layers), best first, and takes their Linears in model
    order until `config.count` are collected. bottom does so from the other end; random draws as
    many, uniformly, from the Linears of all blocks (by the seed and `config.draw`). Behind these
    stand their neighbours, where `config.neighbours` asks for them. all takes every Linear of all
    blocks; list takes what `config.modules` selects, preset what `config.preset` does. Only top and
    bottom need the contents of ranking.json.

    Raises:
        UserError: there is no ranking, it holds too few modules, a pattern matches nothing, or a
            ranked module does not exist in this model.
    """
    candidates = [name for block in catalogue.blocks for name in block.linears]
    if config.targets == "all" or falls_back(ranking, config):
        return candidates
    if config.targets == "list":
        return _listed(config.modules, catalogue)
    if config.targets == "preset":
        return _preset(config.preset, catalogue)
    if config.targets == "random":
        _check_count(config.count, len(candidates), "the model's blocks hold")
        draw = numpy_generator(seed, "random-targets", config.draw)
        chosen = draw.choice(len(candidates), config.count, replace=False)
        drawn = [candidates[index] for index in sorted(chosen)]
        return with_neighbours(drawn, config, catalogue)
    names = in_order(ranking, config, catalogue, seed)
    _check_count(config.count, len(names), "the swept parts hold", "raise localize.top_blocks")
    return with_neighbours(names[: config.count], config, catalogue)


def with_neighbours(names: Sequence[str], config: TrainConfig, catalogue: Catalogue) -> list[str]:
    """The modules, and behind them the same modules of the blocks on either side in their stacks.

    A block that has no such module, being of another class, has no neighbour to give.
    """
    if not config.neighbours:
        return list(names)
    blocks = catalogue.blocks
    place = {
        name: (i, name.removeprefix(b.address)) for i, b in enumerate(blocks) for name in b.linears
    }
    found = list(names)
    for name in names:
        own, below = place[name]
        near = range(max(0, own - config.neighbours), own + config.neighbours + 1)
        beside = [
            blocks[i] for i in near if i < len(blocks) and blocks[i].stack == blocks[own].stack
        ]
        found += [f"{b.address}{below}" for b in beside if f"{b.address}{below}" in b.linears]
    return list(dict.fromkeys(found))


def in_order(
    ranking: Mapping[str, Any] | None, config: TrainConfig, catalogue: Catalogue, seed: int
) -> list[str]:
    """All modules that top, bottom or random choose from, in the order in which they do.

    Raises:
        UserError: there is no ranking, or a ranked module does not exist in this model.
    """
    candidates = [name for block in catalogue.blocks for name in block.linears]
    if config.targets == "random":
        draw = numpy_generator(seed, "random-targets", config.draw)
        return [candidates[index] for index in draw.permutation(len(candidates))]
    names = _ranked(ranking, worst_first=config.targets == "bottom")
    for name in names:
        if name not in candidates:
            raise UserError(
                "the ranking names a module that this model does not have",
                where=name,
                mend="localize this model again",
            )
    return names


def check_choice(model: nn.Module, config: TrainConfig, seed: int) -> None:
    """Refuse, before anything is ranked, what no ranking could make possible in this model.

    Args:
        model: the denoiser; its shapes suffice.
        config: the choice, and the rank of the adapter.
        seed: of a random choice.

    Raises:
        UserError: a module that is listed does not exist, or the model has too few modules, or too
            few that have room for the rank.
    """
    catalogue = discover(model)
    if config.targets in ("top", "bottom"):
        candidates = [name for block in catalogue.blocks for name in block.linears]
        if config.budget is None and config.share is None:
            _check_count(config.count, len(candidates), "the model's blocks hold")
        names = sorted(candidates, key=lambda name: -room(model, name))[: config.count]
    else:
        names = choose_targets(None, config, catalogue, seed)
    if config.budget is not None or config.share is not None:
        return  # how many there are follows from the ranking
    check_rank(model, names, config.rank)


def told(names: Sequence[str], width: int = 80) -> list[str]:
    """Module names for the terminal: a line for each block, more where they do not fit.

    >>> told(["blocks.0.attn.to_q", "blocks.0.attn.to_k", "blocks.12.ff"])
    ['  blocks.0   attn.to_q attn.to_k', '  blocks.12  ff']
    """
    by_block: dict[str, list[str]] = {}
    for name in names:
        place = re.match(r"(.*?\.\d+)\.(.*)", name)
        block, below = place.groups() if place else (name, "")
        by_block.setdefault(block, []).append(below)
    margin = max(map(len, by_block), default=0) + 4
    lines = []
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    wrapper.subsequent_indent = " " * margin
    for block, parts in by_block.items():
        wrapper.initial_indent = f"  {block}".ljust(margin)
        lines += wrapper.wrap(" ".join(parts))
    return lines


def falls_back(ranking: Mapping[str, Any] | None, config: TrainConfig) -> bool:
    """Whether all candidates are trained because ablation found no skill to rank them by."""
    if ranking is None or config.targets not in ("top", "bottom"):
        return False
    return config.if_no_skill == "all" and ranking.get("verdict") == NO_SKILL


def _ranked(ranking: Mapping[str, Any] | None, worst_first: bool) -> list[str]:
    if ranking is None:
        raise UserError(
            "targets by rank need a ranking",
            where="train.targets",
            mend="run localize first, or set train.targets=all",
        )
    rows = walked(ranking)
    if not rows:
        raise UserError(
            f"the ranking holds no sub-layers ({ranking['verdict']})",
            where="train.targets",
            mend="set train.if_no_skill=all, or train.targets=all, random or list",
        )
    rows.sort(key=lambda row: row["rank_in_level"], reverse=worst_first)
    found = [name for row in rows for name in row["lora_targets"]]
    chosen = [] if worst_first else [entry["address"] for entry in ranking.get("set", [])]
    return list(dict.fromkeys([*chosen, *found]))


def walked(ranking: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a ranking that name modules to adapt: Linears, else sub-layers."""
    by_level = {
        level: [row for row in ranking["components"] if row["level"] == level]
        for level in ("projection", "sublayer")
    }
    return by_level["projection"] or by_level["sublayer"]


def reasons(ranking: Mapping[str, Any], targets: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a ranking that speak of the targets, as targets.json keeps them.

    Where a row's module stands in the set, `set` holds its entry there and its place, from 1 on.
    """
    entries = {
        entry["address"]: {"place": place, **entry}
        for place, entry in enumerate(ranking.get("set", []), start=1)
    }
    rows = [row for row in ranking["components"] if set(row["lora_targets"]) & set(targets)]
    return [
        {**row, "set": entries[row["address"]]} if row["address"] in entries else row
        for row in rows
    ]


def _listed(patterns: list[str], catalogue: Catalogue) -> list[str]:
    if not patterns:
        raise UserError("the list is empty", where="train.modules", mend="name at least one module")
    wanted = [attention_of(pattern) or pattern for pattern in patterns]
    components = [component for pattern in wanted for component in select(catalogue, pattern)]
    # A projection without a Linear is a convolution: adapted where it is named itself.
    named = [(c.address,) if c.level == "projection" else c.linears for c in components]
    return list(dict.fromkeys(name for names in named for name in names))


def _preset(name: str, catalogue: Catalogue) -> list[str]:
    preset = PRESETS[name]
    try:
        return _listed(list(preset.modules), catalogue)
    except UserError as error:
        raise UserError(
            f"{name} is a placement for another model ({error})",
            where=f"train.preset = {name}",
            mend="set train.targets=list and train.modules",
        ) from error


def _check_count(count: int, available: int, what: str, mend: str = "lower it") -> None:
    if count > available:
        raise UserError(
            f"{count} modules wanted, {what} {available}", where="train.count", mend=mend
        )
