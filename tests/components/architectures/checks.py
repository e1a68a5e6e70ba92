"""What must hold for every class, each by a route that does not use the code under test."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ablate2tune.ablation import Ablation, ablated, ablated_rows
from ablate2tune.components import Component, discover
from ablate2tune.components.heads import Heads

from .tiny import Tiny, first_tensor


class Subject:
    """A tiny model with its catalogue and its inputs."""

    def __init__(self, tiny: Tiny):
        self.tiny, self.model = tiny, tiny.build()
        self.catalogue = discover(self.model)
        self._inputs = {rows: tiny.batch(rows) for rows in (1,)}
        self.whole = self.run()

    @torch.no_grad()
    def run(self, rows: int = 1) -> Tensor:
        """The prediction for `rows` equal rows."""
        if rows not in self._inputs:
            self._inputs[rows] = self.tiny.batch(rows)
        return first_tensor(self.model(**self._inputs[rows]))

    def under(self, *ablations: Ablation) -> Tensor:
        with ablated(self.model, ablations):
            return self.run()

    def writers(self, block: Component) -> list[str]:
        return [part.address for part in self.catalogue.children(block) if part.writes]


@contextmanager
def weights_zeroed(model: nn.Module, addresses: Sequence[str]) -> Iterator[None]:
    """Modules made to return zeros by replacing their output, without the package's engine."""

    def zeros(_module, _inputs, output):
        if isinstance(output, Tensor):
            return torch.zeros_like(output)
        return tuple(torch.zeros_like(x) if isinstance(x, Tensor) else x for x in output)

    handles = [model.get_submodule(name).register_forward_hook(zeros) for name in addresses]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def skip_is_zeroing(subject: Subject, block: Component) -> bool:
    """Skipping a block equals zeros from all its residual writers, bit for bit."""
    with weights_zeroed(subject.model, subject.writers(block)):
        zeroed = subject.run()
    return torch.equal(subject.under(Ablation(block.address, "skip")), zeroed)


def skip_is_deletion(subject: Subject, block: Component) -> bool:
    """Skipping a block equals its absence from the stack, bit for bit."""
    skipped = subject.under(Ablation(block.address, "skip"))
    stack = subject.model.get_submodule(block.stack)
    module = stack[block.index]
    del stack[block.index]
    try:
        return torch.equal(subject.run(), skipped)
    except (IndexError, TypeError, RuntimeError, ValueError):  # the loop counts on the block
        return False
    finally:
        stack.insert(block.index, module)


def writers_are_few(subject: Subject, block: Component) -> bool:
    """Each residual writer counts: leaving one out of the zeroing is not skipping the block."""
    skipped = subject.under(Ablation(block.address, "skip"))
    writers = subject.writers(block)
    for writer in writers:
        with weights_zeroed(subject.model, [name for name in writers if name != writer]):
            if torch.equal(subject.run(), skipped):
                return False
    return True


class Interruption(Exception):  # noqa: N818
    """Raised inside a context to leave it early."""


def leaving_restores(subject: Subject, block: Component) -> bool:
    """After leaving, also by an exception, the output is the same bit for bit, hooks are gone."""
    parts = [Ablation(part.address, "zero") for part in subject.catalogue.children(block)]
    try:
        with ablated(subject.model, parts):
            subject.run()
            raise Interruption
    except Interruption:
        pass
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.model.modules())
    return hooks == 0 and torch.equal(subject.run(), subject.whole)


def hooks_fire(subject: Subject, block: Component) -> bool:
    """Every block, sub-layer and projection that is ablated is called."""
    below = list(subject.catalogue.children(block))
    below += [part for child in below for part in subject.catalogue.children(child)]
    with ablated(subject.model, [Ablation(part.address, "zero") for part in below]) as firings:
        subject.run()
    return len(firings) == len(below) and all(firings.values())


def heads_partition(subject: Subject, attention: Component) -> bool:
    """What the heads add to the output one by one is what they add together.

    The output is that of the projection that reads the heads, which is linear; so the differences
    made by each head sum to the difference made by all, to 1e-5. And each head makes one.
    """
    heads = attention.heads
    assert isinstance(heads, Heads)

    def outputs(*chosen: int) -> list[Tensor]:
        seen: list[Tensor] = []

        def note(_module, _inputs, output):
            seen.extend([output] if isinstance(output, Tensor) else output)

        modules = [subject.model.get_submodule(site.address) for site in heads.sites]
        names = ",".join(map(str, chosen))
        ablations = [Ablation(f"{attention.address}[heads={names}]", "zero")] if chosen else []
        with ablated(subject.model, ablations):
            handles = [module.register_forward_hook(note) for module in modules]
            try:
                subject.run()
            finally:
                for handle in handles:
                    handle.remove()
        return seen

    everything = range(heads.count)
    intact, none = outputs(), outputs(*everything)
    single = [outputs(head) for head in everything]
    for index, before in enumerate(intact):
        added = [before - output[index] for output in single]
        if not all(difference.abs().max() > 0 for difference in added):
            return False
        if not torch.allclose(sum(added), before - none[index], atol=1e-5, rtol=1e-5):
            return False
    return True


def batched_is_single(subject: Subject, blocks: Sequence[Component]) -> bool:
    """One forward over several conditions gives what one forward per condition gives, to 1e-5."""
    conditions: list[list[Ablation]] = [[]]
    for block in blocks:
        if block.obstacle is None:
            conditions.append([Ablation(block.address, "skip")])
        conditions.append([Ablation(subject.writers(block)[0], "zero")])
    with ablated_rows(subject.model, conditions):
        together = subject.run(len(conditions))
    alone = torch.cat([subject.under(*condition) for condition in conditions])
    scale = max(1.0, float(subject.whole.abs().max()))
    return torch.allclose(together, alone, atol=1e-5 * scale, rtol=1e-5)


@dataclass(frozen=True)
class Verdict:
    """Whether a check held for a stack."""

    held: bool
    reason: str | None = None
    """Why it cannot hold, where that is known."""


CHECKS = {
    "zeroing": "skipping a block equals zeros from all its residual writers, bit for bit",
    "writers": "leaving one writer out of that does not",
    "deletion": "skipping a block equals deleting it, bit for bit",
    "restores": "leaving the context, also by an exception, restores the output bit for bit",
    "fires": "every block, sub-layer and projection is called",
    "heads": "each head adds something, and one by one they add what all add, to 1e-5",
    "batched": "several conditions in one batch equal one at a time, to 1e-5",
}


@dataclass(frozen=True)
class StackReport:
    """One stack of one class."""

    blocks: int
    sublayers: tuple[str, ...]
    """Names in any of its blocks; residual writers carry a star."""
    exempt: dict[int, str]
    """Blocks that cannot be skipped, with the reason."""
    verdicts: dict[str, Verdict]


def examine(tiny: Tiny) -> dict[str, StackReport]:
    """All checks by stack: a check holds if it does for every block that can be ablated."""
    subject = Subject(tiny)
    return {
        stack: _examine_stack(subject, stack, blocks)
        for stack, blocks in subject.catalogue.stacks.items()
    }


def _examine_stack(subject: Subject, stack: str, blocks: Sequence[Component]) -> StackReport:
    exempt = {block.index: block.obstacle for block in blocks if block.obstacle is not None}
    residual = [block for block in blocks if block.obstacle is None]
    parts = [part for block in blocks for part in subject.catalogue.children(block)]
    attentions = [part for part in parts if isinstance(part.heads, Heads)]
    unheaded = [part.heads for part in parts if isinstance(part.heads, str)]
    held = {
        "zeroing": bool(residual) and all(skip_is_zeroing(subject, b) for b in residual),
        "writers": bool(residual) and all(writers_are_few(subject, b) for b in residual),
        "deletion": bool(residual) and all(skip_is_deletion(subject, b) for b in residual),
        "restores": all(leaving_restores(subject, b) for b in blocks),
        "fires": all(hooks_fire(subject, b) for b in blocks),
        "heads": bool(attentions) and all(heads_partition(subject, a) for a in attentions),
        "batched": batched_is_single(subject, blocks),
    }
    known = {name: subject.tiny.reasons.get(f"{name}:{stack}") for name in CHECKS}
    if not residual:
        known |= dict.fromkeys(("zeroing", "writers", "deletion"), next(iter(exempt.values())))
    if not attentions and unheaded:
        known["heads"] = unheaded[0]
    names = {
        part.address.removeprefix(f"{part.block}.") + ("*" if part.writes else ""): None
        for part in parts
    }
    verdicts = {name: Verdict(held[name], known[name]) for name in CHECKS}
    return StackReport(len(blocks), tuple(names), exempt, verdicts)
