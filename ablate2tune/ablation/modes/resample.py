"""Mode resample: the same activation of another example."""

import torch
from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode
from ablate2tune.errors import UserError


def resampled(activation: Activation) -> Tensor:
    """What was donated for each row; else its partner's activation; else that of the row before.

    Raises:
        UserError: there is no other row, a row would replace itself, or rows and partners are not
            equally many (a batch that guidance doubles, frames that are folded into the batch).
    """
    support, x, address = activation.support, activation.x, activation.address
    if activation.site.key in support.donated:
        return activation.given(support.donated, activation.site.key)
    partners = support.partners
    if partners is None:
        if len(x) < 2:
            raise UserError(
                "resampling needs another example in the batch", where=address, mend="pass two"
            )
        return x.roll(1, 0)
    if len(partners) != len(x):
        raise UserError(
            f"{len(partners)} partners for {len(x)} rows",
            where=address,
            mend="give one partner per row; guidance doubles the rows",
        )
    if bool((partners.cpu() == torch.arange(len(x))).any()):
        raise UserError("an example cannot be its own partner", where=address)
    return x[partners.to(x.device)]


MODES.add(
    "resample",
    Mode(
        "that of another example: what was donated for each row, or the partner given for "
        "it, or the row before",
        resampled,
        needs=frozenset({"donors"}),
        unbaked="it takes activations of other examples, which no weight can hold",
    ),
)
