"""Ablations in the weights of a pipeline's denoiser, compared with the one under hooks."""

from collections.abc import Sequence

from ablate2tune.ablation import Ablation, ablated
from ablate2tune.bake.baking import ROUNDING, TOLERANCE, Comparison
from ablate2tune.bake.weight_edits import RUN, check_bakeable, zero_in_weights
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.localize.sampling import run_once
from ablate2tune.models import Denoiser

SIGMA = 0.7
"""The noise level at which both are compared."""


def bake_pipeline(
    denoiser: Denoiser, ablations: Sequence[Ablation]
) -> tuple[Comparison, list[str]]:
    """Write ablations into the denoiser's weights: how it compares, and what changed.

    Args:
        denoiser: in float32 for a comparison that tells rounding from faults; it is changed.
        ablations: heads, neurons, projections, attentions and feed-forwards by zero, blocks by
            skip, as identities.

    Raises:
        UserError: an ablation has no static equivalent, does nothing, or the baked denoiser differs
            from the hooked one by more than rounding.
    """
    if not ablations:
        raise UserError("there is nothing to bake", mend="name an --ablate")
    for ablation in ablations:
        check_bakeable(ablation)
    model, where = denoiser.model, ", ".join(ablation.address for ablation in ablations)
    catalogue = discover(model)
    before = run_once(denoiser, SIGMA, 0)
    with ablated(model, ablations):
        wanted = run_once(denoiser, SIGMA, 0)
    effect = float((wanted - before).abs().max())
    if effect == 0:
        raise UserError("the ablation changes nothing", where=where)
    changed = [name for one in ablations for name in zero_in_weights(model, catalogue, one)]
    difference = float((run_once(denoiser, SIGMA, 0) - wanted).abs().max())
    if not difference <= TOLERANCE * effect + ROUNDING * float(wanted.abs().max()):
        raise UserError(
            f"the baked denoiser's prediction differs by {difference:.2g} from the ablated one's, "
            f"where the ablation changes it by {effect:.2g}: what it writes passes something with "
            "a bias, or the block changes its streams otherwise",
            where=where,
            mend=RUN,
        )
    return Comparison(difference, effect), list(dict.fromkeys(changed))
