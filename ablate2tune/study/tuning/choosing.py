"""Which modules an arm adapts, and at which rank."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ablate2tune.components import Catalogue
from ablate2tune.components.catalogue import Component
from ablate2tune.seeding import numpy_generator
from ablate2tune.study.study_config import StudyArm
from ablate2tune.train.targets import choose_targets
from ablate2tune.train.train_config import TrainConfig


class Choice(NamedTuple):
    """What an adapter sits on."""

    modules: list[str]
    """In model order."""
    rank: int


class Candidates:
    """The Linears that an adapter may sit on."""

    def __init__(self, catalogue: Catalogue, sizes: Mapping[str, tuple[int, int]]):
        """Those of all blocks.

        Args:
            catalogue: of the model.
            sizes: (inputs, outputs) of each Linear.
        """
        self.catalogue, self._sizes = catalogue, sizes
        self._blocks = {name: block for block in catalogue.blocks for name in block.linears}
        self.names = list(self._blocks)

    def ordered(self, names: Iterable[str]) -> list[str]:
        """In model order, each once."""
        wanted = set(names)
        return [name for name in self.names if name in wanted]

    def parameters(self, choice: Choice) -> int:
        """Of a LoRA."""
        return choice.rank * sum(sum(self._sizes[name]) for name in choice.modules)

    def equal_rank(self, names: Sequence[str], parameters: int) -> int:
        """The rank at which a LoRA on these has most nearly so many parameters; at least 1."""
        per_rank = self.parameters(Choice(list(names), 1))
        most = min(min(self._sizes[name]) for name in names)
        return max(1, min(most, round(parameters / per_rank)))

    def among(self, patterns: Sequence[str], count: int, seed: int, draw: int) -> list[str]:
        """A random set of those that globs name; all of these where they are too few."""
        pool = self.listed(patterns)
        generator = numpy_generator(seed, "study among", draw)
        places = generator.choice(len(pool), min(count, len(pool)), replace=False)
        return self.ordered(pool[place] for place in places)

    def listed(self, patterns: Sequence[str]) -> list[str]:
        """Those that globs name, in model order.

        Raises:
            UserError: a glob matches nothing.
        """
        listed = TrainConfig(targets="list", modules=list(patterns))
        return self.ordered(choose_targets(None, listed, self.catalogue, 0))

    def matched(self, like: Sequence[str], match: str, seed: int, draw: int) -> list[str]:
        """A random set with as many modules of each block, or of each name within a block.

        Args:
            like: the set that is matched.
            match: "depth" or "type".
            seed: of the draw.
            draw: its number.
        """
        kind_of = {"depth": self._depth, "type": self._type}[match]
        pools: dict[str, list[str]] = {}
        for name in self.names:
            pools.setdefault(kind_of(name), []).append(name)
        generator = numpy_generator(seed, f"study {match}", draw)
        drawn: set[str] = set()
        for kind, count in sorted(Counter(map(kind_of, like)).items()):
            places = generator.choice(len(pools[kind]), count, replace=False)
            drawn.update(pools[kind][place] for place in places)
        return self.ordered(drawn)

    def _depth(self, name: str) -> str:
        return self._block(name).address

    def _type(self, name: str) -> str:
        block = self._block(name)
        return f"{block.stack}.*{name.removeprefix(block.address)}"

    def _block(self, name: str) -> Component:
        return self._blocks[name]


def choose(
    arm: StudyArm,
    config: TrainConfig,
    draw: int,
    candidates: Candidates,
    seed: int,
    ranking: dict[str, Any] | None,
    like: Choice | None,
) -> Choice:
    """What an arm adapts.

    Args:
        arm: the rule.
        config: of the cell: its `count` is the budget.
        draw: which of its random sets.
        candidates: of the model.
        seed: of the cell.
        ranking: contents of the ranking.json that top and bottom go by.
        like: what the guided arm adapts, for a rule that is matched to it.

    Raises:
        UserError: what `choose_targets` raises.
    """
    if arm.match and like:
        return Choice(candidates.matched(like.modules, arm.match, seed, draw), config.rank)
    if arm.targets == "random" and arm.modules:
        return Choice(candidates.among(arm.modules, config.count, seed, draw), config.rank)
    changes = {"targets": arm.targets, "modules": arm.modules, "draw": draw}
    settings = config.model_copy(update={**changes, "if_no_skill": "stop"})
    names = candidates.ordered(choose_targets(ranking, settings, candidates.catalogue, seed))
    if arm.equal_parameters and like:
        return Choice(names, candidates.equal_rank(names, candidates.parameters(like)))
    return Choice(names, config.rank)
