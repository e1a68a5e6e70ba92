"""Mode adapter_off: Linears without their LoRA, while all other adapters stay on.

What a component has learnt so far is taken away, and nothing else: the same as its adapters' scales
set to 0, but for one condition of a batch alone.
"""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode
from ablate2tune.components.tree import without_adapter
from ablate2tune.errors import UserError


def without_lora(activation: Activation) -> Tensor:
    """What the frozen layer alone gives for the module's own input.

    Raises:
        UserError: the module carries no adapter.
    """
    call, axis = activation.call, activation.site.batch_axis
    layer = without_adapter(call.module)
    if layer is call.module:
        raise UserError(
            "it carries no adapter to switch off",
            where=activation.address,
            mend="load or inject one (`rank_by: scout` trains them)",
        )
    given = call.args[0] if call.args else next(iter(call.kwargs.values()))
    return layer(given.transpose(0, axis)[activation.rows])


MODES.add(
    "adapter_off",
    Mode(
        "what each Linear inside gives without its LoRA",
        without_lora,
        levels=("block", "sublayer", "projection"),
        needs=frozenset({"adapters"}),
        inside=True,
        block_mode="adapter_off",
        tried=True,
        screened=True,
        drawn=True,
        taken="part's adapters",
    ),
)
