"""What must hold for every causal language model, each by a route of its own.

`python -m language_checks ../../docs/language-architectures.md` in this folder (with ../models on
the path) writes the table of all families.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_language import FAMILIES, WIDTH, tiny_language_model, tokens
from torch import Tensor, nn

from ablate2tune.ablation import Ablation, ablated
from ablate2tune.bake.baking import bake
from ablate2tune.bake.pruning import cut_config
from ablate2tune.components import Catalogue, Component, discover
from ablate2tune.components.heads import Heads
from ablate2tune.errors import UserError
from ablate2tune.models import LanguageModel
from ablate2tune.models.model_config import ModelConfig

PLACED = "the layers that are left lack tensors that their new places ask for"
CLOSE = 1e-5
"""Differences up to this share of the largest logit are rounding."""


class Subject:
    """A tiny model with its catalogue and what it says of a few tokens."""

    def __init__(self, model_type: str):
        self.model: Any = tiny_language_model(model_type)
        self.catalogue: Catalogue = discover(self.model)
        self.ids = tokens(rows=2, length=12)
        self.whole = self.run()

    @torch.no_grad()
    def run(self, model: Any = None) -> Tensor:
        return (model or self.model)(input_ids=self.ids, use_cache=False).logits

    def under(self, *ablations: Ablation) -> Tensor:
        with ablated(self.model, ablations):
            return self.run()

    def close(self, one: Tensor, other: Tensor) -> bool:
        return float((one - other).abs().max()) <= CLOSE * float(self.whole.abs().max())

    def writers(self, block: Component) -> list[str]:
        return [part.address for part in self.catalogue.children(block) if part.writes]

    @property
    def attentions(self) -> list[Component]:
        return [part for part in self.catalogue if isinstance(part.heads, Heads)]

    def refuse_headless(self) -> None:
        """Raise the reason why no attention's heads can be told apart, if none's can."""
        if not self.attentions:
            reasons = [part.heads for part in self.catalogue if isinstance(part.heads, str)]
            raise UserError(reasons[0] if reasons else "it has no attention")

    def language_model(self) -> LanguageModel:
        """A copy, to be changed."""
        return LanguageModel(copy.deepcopy(self.model), None, ModelConfig(path="tiny"))


@contextmanager
def replaced(
    model: nn.Module, addresses: Sequence[str], value: Callable[[nn.Module, Tensor], Tensor]
) -> Iterator[None]:
    """Outputs of modules replaced without the package's engine; of a tuple the first tensor."""

    def hook(module, _inputs, output):
        if isinstance(output, Tensor):
            return value(module, output)
        return (value(module, output[0]), *output[1:])

    handles = [model.get_submodule(name).register_forward_hook(hook) for name in addresses]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def restores(subject: Subject) -> bool:
    """After leaving, also by an exception, the logits are the same bit for bit."""
    parts = [part.address for part in subject.catalogue if part.writes]
    try:
        with ablated(subject.model, [Ablation(address, "zero") for address in parts]):
            subject.run()
            raise KeyError
    except KeyError:
        pass
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.model.modules())
    return hooks == 0 and torch.equal(subject.run(), subject.whole)


def fires(subject: Subject) -> bool:
    """Every block, and every sub-layer that writes, is called when it is ablated."""
    for level in ("block", "sublayer"):
        parts = [p for p in subject.catalogue if p.level == level and (p.writes or level[0] == "b")]
        mode = "skip" if level == "block" else "zero"
        with ablated(subject.model, [Ablation(part.address, mode) for part in parts]) as firings:
            subject.run()
        if len(firings) != len(parts) or not all(firings.values()):
            return False
    return True


def zeroing(subject: Subject) -> bool:
    """Skipping a block equals zeros from its sub-layers, bit for bit, and changes the logits."""
    for block in subject.catalogue.blocks:
        skipped = subject.under(Ablation(block.address, "skip"))
        with replaced(subject.model, subject.writers(block), lambda _m, x: torch.zeros_like(x)):
            if not torch.equal(subject.run(), skipped) or torch.equal(skipped, subject.whole):
                return False
    return True


@torch.no_grad()
def deletion(subject: Subject) -> bool:
    """Skipping a block equals a model of fewer layers, built from its own cut configuration."""
    for block in subject.catalogue.blocks:
        skipped = subject.under(Ablation(block.address, "skip"))
        count = len(subject.catalogue.stacks[block.stack])
        kept = [index for index in range(count) if index != block.index]
        smaller = type(subject.model)(cut_config(subject.model.config, count, kept)).eval()
        left = copy.deepcopy(subject.model)
        stack = left.get_submodule(block.stack)
        del stack[block.index]
        try:
            smaller.load_state_dict(left.state_dict(), strict=True)
        except RuntimeError as error:
            raise UserError(PLACED) from error
        if not subject.close(subject.run(smaller), skipped):
            return False
    return True


def heads(subject: Subject) -> bool:
    """All heads at zero equal an out-projection that gives its bias alone."""

    def bias_alone(module: Any, output: Tensor) -> Tensor:
        bias = getattr(module, "bias", None)
        return torch.zeros_like(output) + (0 if bias is None else bias)

    for part in subject.attentions:
        assert isinstance(part.heads, Heads)
        names = ",".join(map(str, range(part.heads.count)))
        (site,) = part.heads.sites
        with replaced(subject.model, [site.address], bias_alone):
            expected = subject.run()
        if not torch.equal(subject.under(Ablation(f"{part.address}[heads={names}]", "zero")),
                           expected):  # fmt: skip
            return False
    subject.refuse_headless()
    return True


def partition(subject: Subject) -> bool:
    """What each head adds to the out-projection's output, one by one, is what all add together."""
    for part in subject.attentions:
        assert isinstance(part.heads, Heads)
        (site,) = part.heads.sites
        count = part.heads.count

        def output(*chosen: int, site=site, part=part) -> Tensor:
            seen: list[Tensor] = []

            def note(_module: nn.Module, found: Tensor) -> Tensor:
                seen.append(found.clone())
                return found

            names = ",".join(map(str, chosen))
            ablations = [Ablation(f"{part.address}[heads={names}]", "zero")] if chosen else []
            with (
                ablated(subject.model, ablations),
                replaced(subject.model, [site.address], note),
            ):
                subject.run()
            return seen[0]

        whole, none = output(), output(*range(count))
        added = [whole - output(head) for head in range(count)]
        if not all(float(x.abs().max()) > 0 for x in added):
            return False
        if not torch.allclose(sum(added), whole - none, atol=1e-5, rtol=1e-4):
            return False
    subject.refuse_headless()
    return True


@torch.no_grad()
def cache(subject: Subject) -> bool:
    """Under a skipped block and a zeroed sub-layer, logits with a cache equal those without."""
    block = subject.catalogue.blocks[0]
    part = next(p for p in subject.catalogue if p.block != block.address and p.writes)
    ids = subject.ids
    with ablated(subject.model, [Ablation(block.address, "skip"), Ablation(part.address, "zero")]):
        whole = subject.run()
        first = subject.model(input_ids=ids[:, :8], use_cache=True)
        if not hasattr(first, "cache"):
            raise UserError("what it keeps from token to token is not handed on as a cache")
        found, kept = [first.logits], first.past_key_values
        for place in range(8, ids.shape[1]):
            step = subject.model(
                input_ids=ids[:, place : place + 1], past_key_values=kept, use_cache=True
            )
            kept = step.past_key_values
            found.append(step.logits)
    return subject.close(torch.cat(found, 1), whole)


def _bakes(subject: Subject, ablations: Sequence[Ablation], **more: Any) -> bool:
    bake(subject.language_model(), ablations, **more)
    return True


def baked_skip(subject: Subject) -> bool:
    """A block whose writers are zero in the weights equals the skipped one."""
    last = subject.catalogue.blocks[-1]
    return _bakes(subject, [Ablation(last.address, "skip")])


def baked_heads(subject: Subject) -> bool:
    """A head at zero in the weights equals the one at zero by a hook."""
    subject.refuse_headless()
    return _bakes(subject, [Ablation(f"{subject.attentions[0].address}[heads=1]", "zero")])


def baked_parts(subject: Subject) -> bool:
    """Each sub-layer that writes, at zero in the weights, equals the one at zero by a hook."""
    block = subject.catalogue.blocks[-1]
    for part in subject.writers(block):
        _bakes(subject, [Ablation(part, "zero")])
    return True


def pruned_skip(subject: Subject) -> bool:
    """A checkpoint without the block equals the skipped block."""
    first = subject.catalogue.blocks[0]
    return _bakes(subject, [Ablation(first.address, "skip")], prune=True)


def direction(subject: Subject) -> bool:
    """A direction taken out of the weights equals hooks on all writes; none of it is left."""
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(5))
    return _bakes(subject, [], direction=vector)


CHECKS: dict[str, Callable[[Subject], bool]] = {
    check.__name__: check
    for check in (
        *(restores, fires, zeroing, deletion, heads, partition, cache),
        *(baked_heads, baked_parts, baked_skip, pruned_skip, direction),
    )
}


WHY = {
    "zeroing": "zeros from its sub-layers are not its absence: a norm stands behind the sum, or "
    "they add more than what they compute",
    "deletion": "something depends on a layer's place, which the configuration cannot say",
    "cache": "with a cache it computes something else, also without any ablation",
    "partition": "a head adds nothing, or together they add something else than one by one",
    "heads": "the attention gives more than its out-projection does",
}
"""What it means that a check does not hold, where nothing else says it."""


def examine(model_type: str) -> dict[str, str | None]:
    """All checks of a family: None where it holds, else why it does not."""
    subject = Subject(model_type)
    found: dict[str, str | None] = {}
    for name, check in CHECKS.items():
        try:
            found[name] = None if check(subject) else WHY.get(name, "it does not hold")
        except UserError as error:
            found[name] = error.what.split(" (")[0].split(": ")[-1]
        except Exception as error:
            found[name] = f"{type(error).__name__} was raised, which was not looked into"
    return found


def parts_of(model_type: str) -> str:
    """The sub-layers of any block that write to the stream, with their roles."""
    found: dict[str, None] = {}
    for part in discover(tiny_language_model(model_type)):
        if part.level == "sublayer" and part.writes:
            facts: list[str] = [part.role]
            facts += [f"{part.heads.count} heads"] if isinstance(part.heads, Heads) else []
            facts += [f"{part.experts} experts"] if part.experts else []
            name = part.address.removeprefix(f"{part.block}.")
            found[f"{name} ({', '.join(facts)})"] = None
    return ", ".join(found)


def row(model_type: str, notes: list[str]) -> str:
    """A family's line of the table; reasons that `notes` lacks are appended to it."""
    cells = [f"`{model_type}`", parts_of(model_type)]
    for reason in examine(model_type).values():
        if reason is not None and reason not in notes:
            notes.append(reason)
        cells.append("yes" if reason is None else str(notes.index(reason) + 1))
    return f"| {' | '.join(cells)} |"


def header() -> str:
    """The page above its rows."""
    lines = [
        "# Architectures of language models",
        "",
        f"What was checked of {len(FAMILIES)} families of causal language models of transformers",
        f"{transformers.__version__}, each on a tiny random model. A number points to the reason",
        "below the table why a check cannot hold; what it forbids is refused with a reason where",
        "it is asked for. Sub-layers are those that write to the residual stream. This file is",
        "written in `tests/components` by",
        "`PYTHONPATH=../models python language_checks.py ../../docs/language-architectures.md`.",
        "",
        *(
            f"- **{name}**: {(check.__doc__ or '').splitlines()[0]}"
            for name, check in CHECKS.items()
        ),
        "",
        f"| family | sub-layers | {' | '.join(CHECKS)} |",
        "|---" * (2 + len(CHECKS)) + "|",
    ]
    return "\n".join(lines) + "\n"


def main(path: Path) -> None:
    """Write the page."""
    notes: list[str] = []
    rows = []
    for family in FAMILIES:
        rows.append(row(family, notes))
        print(rows[-1], flush=True)
    reasons = [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    path.write_text(header() + "\n".join([*rows, "", *reasons]) + "\n")


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    main(Path(sys.argv[1]))
