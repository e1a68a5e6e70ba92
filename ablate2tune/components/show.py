"""The tree of a model's components as text: shapes, heads, parameters, counts, cost of a sweep."""

from collections.abc import Iterator

from ablate2tune.components.catalogue import Catalogue, Component
from ablate2tune.components.heads import Heads


def describe(name: str, catalogue: Catalogue) -> Iterator[str]:
    """Lines that show a catalogue; runs of equal blocks are shown once.

    Args:
        name: what the model is called in its pipeline.
        catalogue: its components.
    """
    total = sum(block.parameters for block in catalogue.blocks)
    yield f"{name}: {_plural(len(catalogue.blocks), 'block')}, {_short(total)} parameters in them"
    for stack, blocks in catalogue.stacks.items():
        for run in _runs(catalogue, blocks):
            yield from _run(catalogue, stack, run)
    yield "  " + _counts(catalogue)
    yield "  " + _cost(catalogue)


def _runs(catalogue: Catalogue, blocks: list[Component]) -> Iterator[list[Component]]:
    """Consecutive blocks that are made alike."""
    run: list[Component] = []
    for block in blocks:
        if run and _shape(catalogue, block) != _shape(catalogue, run[-1]):
            yield run
            run = []
        run.append(block)
    yield run


def _shape(catalogue: Catalogue, block: Component) -> tuple:
    parts = [block, *_below(catalogue, block)]
    return tuple(
        (part.address.removeprefix(block.address), part.kind, part.parameters, part.obstacle)
        for part in parts
    )


def _below(catalogue: Catalogue, part: Component) -> Iterator[Component]:
    for child in catalogue.children(part):
        yield child
        yield from _below(catalogue, child)


def _run(catalogue: Catalogue, stack: str, run: list[Component]) -> Iterator[str]:
    first, last = run[0], run[-1]
    span = str(first.index) if first is last else f"{{{first.index}..{last.index}}}"
    yield f"  {stack}.{span}  {first.kind}, {_short(first.parameters)} each"
    if first.obstacle:
        yield f"    cannot be ablated as a block: {first.obstacle}"
    for part in catalogue.children(first):
        facts = [part.kind, _short(part.parameters)]
        if isinstance(part.heads, Heads):
            facts.append(_plural(part.heads.count, "head"))
        elif part.heads is not None:
            facts.append(f"heads cannot be ablated: {part.heads}")
        if not part.writes and part.role != "projection":
            facts.append("feeds a later part")
        yield f"    {part.address.removeprefix(f'{first.address}.')}  {', '.join(facts)}"
        inner = catalogue.children(part)
        if inner:
            names = (p.address.removeprefix(f"{part.address}.") for p in inner)
            yield f"      {', '.join(names)}"


def _counts(catalogue: Catalogue) -> str:
    def many(level: str) -> int:
        return sum(part.level == level for part in catalogue)

    return ", ".join(
        [
            _plural(many("block"), "block"),
            _plural(many("sublayer"), "sub-layer"),
            _plural(many("projection"), "projection"),
            _plural(head_count(catalogue), "head"),
        ]
    )


def head_count(catalogue: Catalogue) -> int:
    """Heads that can be ablated, over all attentions."""
    return sum(part.heads.count for part in catalogue if isinstance(part.heads, Heads))


def _cost(catalogue: Catalogue) -> str:
    blocks = [block for block in catalogue.blocks if block.obstacle is None]
    every = len(catalogue.blocks)
    # Block k skipped: the k blocks before it are those of the baseline.
    positions = {block.address: place for place, block in enumerate(catalogue.blocks)}
    saved = sum(positions[block.address] for block in blocks)
    full = (len(blocks) + 1) * every
    return (
        f"a sweep of all blocks takes {len(blocks) + 1} forwards per example and noise level: "
        f"{full} block evaluations, {full - saved} where the unchanged blocks before the ablated "
        "one are not run again"
    )


def _short(count: int) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= limit:
            return f"{count / limit:.1f}{unit}"
    return str(count)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
