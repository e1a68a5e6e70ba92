"""The few classes that break the rules of discovery (diffusers 0.42, transformers 5.24), and why.

Everything else is derived from the module tree, the forward signatures and the `return` statements.
"""

from torch import nn

BATCH_AXIS = {"ErnieImageSharedAdaLNBlock": 1, "ErnieImageFeedForward": 1}
"""Classes whose inputs and outputs do not hold the batch on axis 0: ERNIE's are (tokens, batch,
channels) between the blocks and (batch, tokens, channels) inside the attention."""

NO_HEADS = {
    "LuminaNextDiTBlock": "one out-projection takes the sum of the block's two attentions",
}
"""Blocks whose attentions' heads are not the columns of a projection's input."""

MIXED_HEADS = {
    "BitNetAttention": "a norm over all heads lies between them and the out-projection",
    "DiffLlamaAttention": "its out-projection reads differences of two heads",
    "MiniMaxLightningAttention": "a norm over all heads lies between them and the out-projection",
}
"""Attentions in which the columns of the out-projection's input are no single heads."""


def not_residual(block: nn.Module) -> str | None:
    """Why skipping a block has no meaning; None for every block that adds to its streams."""
    kind = type(block).__name__
    if kind == "WanVACETransformerBlock":
        return "it returns a hint made by a projection beside its stream, so there is no skip"
    if kind == "HunyuanDiTBlock" and getattr(block, "skip_linear", None) is not None:
        return "it mixes an earlier block's output in by a linear layer instead of adding to it"
    return None
