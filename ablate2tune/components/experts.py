"""Where a mixture of experts adds up what its experts give: by which weights, of which experts.

In transformers a module holds all experts of a layer and is called with the tokens, the numbers of
the experts that each token goes to, and the weights by which their outputs are added. An expert
whose weight is zero is not there.
"""

import inspect

from torch import nn

from ablate2tune.components.tree import descendants

WEIGHTS = {"top_k_weights": "top_k_index", "routing_weights": "router_indices"}
"""Names of the argument that holds the weights, with those of the one that says whose they are."""


def routed(module: nn.Module) -> dict[str, str]:
    """The modules within a feed-forward that hold experts, with the name of their weights."""
    found = {}
    for name, part in descendants(module):
        taken = inspect.signature(part.forward).parameters
        for weights, index in WEIGHTS.items():
            if weights in taken and index in taken:
                found[name] = weights
    return found
