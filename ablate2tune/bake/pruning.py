"""Deleting layers: a model of fewer layers, with a configuration that says so.

Everything in the configuration that counts layers is cut: their number, each list with an entry
per layer, and patterns that begin at a layer. What cannot be said that way shows when the pruned
model is compared with the one whose layers are skipped.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from ablate2tune.components import Catalogue
from ablate2tune.errors import UserError, reason

COUNTS = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks", "decoder_layers"),
)
LEADING = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")
"""Keys that say how many of the first layers are of another kind."""
OTHER_LISTS = re.compile(r"_ids?$|limit|range|betas|architectures")
"""Lists that have no entry per layer, though they may be as long."""


@torch.no_grad()
def pruned(model: Any, catalogue: Catalogue, blocks: Sequence[str]) -> nn.Module:
    """A model without some of its blocks, its other weights shared with the first.

    Args:
        model: a causal language model.
        catalogue: its components.
        blocks: addresses of blocks of one stack.

    Raises:
        UserError: nothing would be left, the blocks are of several stacks, or no model can be built
            from the cut configuration.
    """
    parts = [catalogue[address] for address in blocks]
    stacks = {part.stack for part in parts}
    if len(stacks) != 1:
        raise UserError("they are of several stacks", where=", ".join(blocks))
    (stack,) = stacks
    count, removed = len(catalogue.stacks[stack]), {part.index for part in parts}
    kept = [index for index in range(count) if index not in removed]
    if not kept:
        raise UserError("no layer would be left", where=stack, mend="delete fewer")
    config = cut_config(model.config, count, kept)
    place = {old: new for new, old in enumerate(kept)}
    state = {}
    for name, tensor in model.state_dict().items():
        if not name.startswith(f"{stack}."):
            state[name] = tensor
            continue
        index, _, rest = name.removeprefix(f"{stack}.").partition(".")
        if int(index) in place:
            state[f"{stack}.{place[int(index)]}.{rest}"] = tensor
    try:
        smaller: Any = AutoModelForCausalLM.from_config(config)
        smaller.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise UserError(
            f"no model of {len(kept)} layers takes the weights that are left ({reason(error)})",
            where=", ".join(blocks),
            mend="leave --prune out, so that the layers stay as identities",
        ) from error
    smaller.generation_config = copy.deepcopy(model.generation_config)
    return smaller.to(next(model.parameters()).dtype).eval().requires_grad_(False)


def cut_config(config: Any, count: int, kept: Sequence[int]) -> Any:
    """A configuration for the layers that are kept, of `count`."""
    cut = copy.deepcopy(config)
    for part in {id(c): c for c in (cut, cut.get_text_config())}.values():
        values = {key: value for key, value in vars(part).items() if not key.startswith("__")}
        for key, value in values.items():
            listed = isinstance(value, list | tuple) and len(value) == count
            if listed and not OTHER_LISTS.search(key):
                setattr(part, key, type(value)(value[index] for index in kept))
        for key in LEADING:
            if isinstance(values.get(key), int):
                setattr(part, key, sum(index < values[key] for index in kept))
        for key in COUNTS:
            if values.get(key) == count:
                setattr(part, key, len(kept))
    return cut
