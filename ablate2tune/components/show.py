"""The tree of a model's components as text: shapes, heads, parameters, counts, cost of a sweep."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from ablate2tune.components.catalogue import Catalogue, Component
from ablate2tune.components.heads import Heads


def describe(name: str, catalogue: Catalogue) -> Iterator[str]:
    """Lines that show a catalogue by the model's name; runs of equal blocks are shown once."""
    total = sum(block.parameters for block in catalogue.blocks)
    yield f"{name}: {_plural(len(catalogue.blocks), 'block')}, {_short(total)} parameters in them"
    for stack, blocks in catalogue.stacks.items():
        for _, run in groupby(blocks, key=lambda block: _shape(catalogue, block)):
            yield from _run(catalogue, stack, list(run))
    levels = Counter(part.level for part in catalogue)
    heads = sum(part.heads.count for part in catalogue if isinstance(part.heads, Heads))
    counts = [
        _plural(levels["block"], "block"),
        _plural(levels["sublayer"], "sub-layer"),
        _plural(levels["projection"], "projection"),
        _plural(heads, "head"),
    ]
    yield f"  {', '.join(counts)}"
    yield "  " + _cost(catalogue)


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
        if part.experts:
            facts.append(_plural(part.experts, "expert"))
        if part.neurons:
            facts.append(_plural(part.neurons, "neuron"))
        if not part.writes and part.role != "projection":
            facts.append("feeds a later part")
        yield f"    {part.path[-1]}  {', '.join(facts)}"
        inner = catalogue.children(part)
        if inner:
            yield f"      {', '.join(below.path[-1] for below in inner)}"
    if first.norms:
        yield f"    norms, which are not ablated: {', '.join(first.norms)}"


def _cost(catalogue: Catalogue) -> str:
    # Block k skipped: the k blocks before it are those of the baseline.
    places = [k for k, block in enumerate(catalogue.blocks) if block.obstacle is None]
    forwards = len(places) + 1
    full = forwards * len(catalogue.blocks)
    return (
        f"a sweep of all blocks takes {forwards} forwards per example and noise level: "
        f"{full} block evaluations, {full - sum(places)} where the unchanged blocks before the "
        "ablated one are not run again"
    )


def _short(count: int) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= limit:
            return f"{count / limit:.1f}{unit}"
    return str(count)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
