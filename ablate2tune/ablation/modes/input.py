"""Mode input: a sub-layer passes its own input on."""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode
from ablate2tune.ablation.streams import bound_arguments
from ablate2tune.errors import UserError


def own_input(activation: Activation) -> Tensor:
    """The tensor that the module was called with: the first, or the second for a second stream.

    Raises:
        UserError: it has not the shape of the output.
    """
    x, call = activation.x, activation.call
    given = bound_arguments(call.module, call.args, call.kwargs).values()
    tensors = [value for value in given if isinstance(value, Tensor)]
    value = next(iter(tensors[activation.index :]), None)
    if value is not None and value.ndim == x.ndim:
        rows = value.transpose(0, activation.site.batch_axis)[activation.rows]
        if rows.shape == x.shape:
            return rows.to(x.dtype)
    shape = None if value is None else tuple(value.shape)
    raise UserError(
        f"its input {shape} has not the shape of its output {tuple(x.shape)}",
        where=activation.address,
    )


MODES.add(
    "input",
    Mode(
        "the sub-layer's own input",
        own_input,
        levels=("sublayer", "projection"),
        drawn=True,
        tried=True,
    ),
)
