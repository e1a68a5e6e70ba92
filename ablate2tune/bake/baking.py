"""From a language model and ablations to the same model with them in its weights, compared.

The model with hooks is the reference. Whatever the weights cannot say exactly shows as a difference
of the logits, and is refused: no list of architectures is needed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune.ablation import Ablation, ablated
from ablate2tune.ablation.hooks import Call, hooked
from ablate2tune.ablation.modes.project_out import projected_out
from ablate2tune.bake.pruning import pruned
from ablate2tune.bake.weight_edits import (
    check_bakeable,
    project_out_of_weights,
    zero_in_weights,
)
from ablate2tune.bake.writers import embeddings, stream_width
from ablate2tune.components import Catalogue, discover
from ablate2tune.errors import UserError
from ablate2tune.models import LanguageModel
from ablate2tune.seeding import torch_generator

ROWS, TOKENS = 2, 24
"""Of the random texts on which both models are compared."""
TOLERANCE = 1e-4
"""Largest difference of logits to the hooked model, as a share of what the ablation changes; what
rounding in float32 does is some 1e-6 of the logits themselves."""
ROUNDING = 2e-5
"""The same, as a share of the largest logit."""
LEFT = 1e-4
"""Largest share of a direction in the stream, |h.v|/|h|, that counts as taken out."""


@dataclass(frozen=True)
class Comparison:
    """How the baked model compares with the hooked one, on random tokens, in logits."""

    difference: float
    """Largest difference of the two."""
    effect: float
    """Largest difference of the hooked model and the model before."""
    direction_left: float | None = None
    """Largest |h.v|/|h| at any block's output; None where no direction is taken out."""


@dataclass(frozen=True)
class Baked:
    """A model with ablations in its weights."""

    model: Any
    changed: list[str]
    """Names of the parameters that changed; none of a model that lost layers."""
    deleted: list[str]
    """Addresses of the layers that were deleted."""
    comparison: Comparison


def bake(
    source: LanguageModel,
    ablations: Sequence[Ablation],
    direction: Tensor | None = None,
    prune: bool = False,
) -> Baked:
    """Write ablations, and the projection on a direction's complement, into the weights.

    The source's model is changed where no layer is deleted: load it for this alone.

    Args:
        source: the model, in float32 for a comparison that tells rounding from faults.
        ablations: heads, neurons, projections, attentions and MLPs by zero, layers by skip.
        direction: (channels,), taken out of everything that writes to the residual stream.
        prune: delete skipped layers instead of leaving identities.

    Raises:
        UserError: an ablation has no static equivalent, does nothing, or the baked model differs
            from the hooked one by more than rounding.
    """
    if not ablations and direction is None:
        raise UserError("there is nothing to bake", mend="name an --ablate or a --project-out")
    for ablation in ablations:
        check_bakeable(ablation)
    model = source.model
    catalogue = discover(model)
    if direction is not None:
        check_direction(direction, stream_width(model))
    ids = _tokens(source)
    before = _logits(model, ids)
    with ablated(model, ablations), projected(model, catalogue, direction):
        wanted = _logits(model, ids)
    effect = float((wanted - before).abs().max())
    if effect == 0:
        raise UserError("the ablation changes nothing", where=_named(ablations))
    layers = {block.address for block in catalogue.blocks} & {a.address for a in ablations}
    deleted = [a.address for a in ablations if prune and a.address in layers]
    rest = [ablation for ablation in ablations if ablation.address not in deleted]
    changed = [name for one in rest for name in zero_in_weights(model, catalogue, one)]
    if direction is not None:
        changed += project_out_of_weights(model, catalogue, direction)
    result = pruned(model, catalogue, deleted) if deleted else model
    difference = float((_logits(result, ids) - wanted).abs().max())
    allowed = TOLERANCE * effect + ROUNDING * float(wanted.abs().max())
    if not difference <= allowed:
        raise UserError(
            f"the baked model's logits differ by {difference:.2g} from the ablated one's, where "
            f"the ablation changes them by {effect:.2g}: {_reason(deleted, direction)}",
            where=_named(ablations),
            mend="ablate it while the model runs (`ablate2tune try`)"
            + ("" if prune or not layers else ", or delete the layer with --prune"),
        )
    left = None if direction is None else direction_left(result, direction, ids)
    if left is not None and left > LEFT:
        raise UserError(
            f"{left:.1%} of the residual stream still lies along the direction: a norm behind what "
            "writes to the stream, or before the first block, turns it back in",
            where="--project-out",
            mend="take the direction out of single sub-layers instead, or while the model runs",
        )
    return Baked(
        result, list(dict.fromkeys(changed)), deleted, Comparison(difference, effect, left)
    )


def check_direction(direction: Tensor, width: int) -> None:
    """Refuse what is no direction of the residual stream.

    Raises:
        UserError: another width, or no finite length above zero.
    """
    if direction.ndim != 1 or len(direction) != width:
        raise UserError(
            f"the direction has {tuple(direction.shape)} channels, the residual stream {width}",
            where="--project-out",
        )
    norm = direction.double().norm()
    if not torch.isfinite(norm) or norm == 0:
        raise UserError("the direction has no length, or is not finite", where="--project-out")


@contextmanager
def projected(model: nn.Module, catalogue: Catalogue, direction: Tensor | None) -> Iterator[None]:
    """Within it, every write to the residual stream is projected: embeddings and sub-layers.

    Another intervention than projecting the stream after each block, where a block's second
    sub-layer would still read what its first one wrote along the direction.
    """
    if direction is None:
        yield
        return
    writers = [part.address for part in catalogue if part.level == "sublayer" and part.writes]
    vector: Tensor = direction

    def without(call: Call) -> Any:
        if isinstance(call.value, Tensor):
            return projected_out(call.value, vector, "--project-out")
        first, *others = call.value
        return (projected_out(first, vector, "--project-out"), *others)

    names = [*embeddings(model, catalogue), *writers]
    with hooked(model, [(name, without) for name in names]):
        yield


@torch.no_grad()
def direction_left(model: nn.Module, direction: Tensor, ids: Tensor) -> float:
    """Largest |h.v|/|h| over tokens at any block's output."""
    v = direction.float() / direction.float().norm()
    found = [0.0]

    def look(call: Call) -> None:
        x = call.value if isinstance(call.value, Tensor) else call.value[0]
        wide = x.float()
        along = (wide @ v.to(wide.device)).abs() / wide.norm(dim=-1).clamp(min=1e-12)
        found.append(float(along.max()))

    blocks = [block.address for block in discover(model).blocks]
    with hooked(model, [(address, look) for address in blocks]):
        model(input_ids=ids, use_cache=False)
    return max(found)


def _tokens(source: LanguageModel) -> Tensor:
    generator = torch_generator(0, "bake")
    drawn = torch.randint(source.vocabulary, (ROWS, TOKENS), generator=generator)
    return drawn.to(source.device)


@torch.no_grad()
def _logits(model: Any, ids: Tensor) -> Tensor:
    return model(input_ids=ids, use_cache=False).logits.float()


def _named(ablations: Sequence[Ablation]) -> str:
    return ", ".join(ablation.address for ablation in ablations) or "--project-out"


def _reason(deleted: Sequence[str], direction: Tensor | None) -> str:
    if deleted:
        return (
            "something in the model depends on a layer's place, which the configuration can't say"
        )
    if direction is not None:
        return "something else than its sub-layers and embeddings writes to the residual stream"
    return "what it writes passes a norm with a bias, or the block changes its stream otherwise"
