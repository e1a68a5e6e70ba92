"""Mean activations over the tokens of a text: one for its first token, one for all others.

A text's first token is no token like the others: attentions rest on it, and its activations are
larger by orders of magnitude (attention sinks, Xiao et al. 2023, arXiv:2309.17453; massive
activations, Sun et al. 2024, arXiv:2402.17762). In one mean with the others it would shift
all of them, and they would hide it.
"""

from collections.abc import Sequence

from torch import Tensor

from ablate2tune.ablation import Means
from ablate2tune.errors import UserError


class TokenMeans(Means):
    """Means over texts, of each text's first token and of its other tokens.

    A batch of one token, as of a generation with a cache, holds none that is first.
    """

    def __init__(self) -> None:
        """No means yet."""
        super().__init__()
        self.real: Tensor | None = None
        """Which tokens of the next forward are no padding: bool, (rows, tokens); None for all."""

    def add(self, site: str, tensors: Sequence[Tensor]) -> None:
        """Take a batch in, (rows, tokens, channels) each: every text counts alike.

        Raises:
            UserError: a tensor has another shape, a text one token alone, or as for `Means.add`.
        """
        super().add(site, [self._by_text(site, x) for x in tensors])

    def _by_text(self, site: str, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[1] < 2:
            raise UserError(
                f"its tensor is {tuple(x.shape)}, not (texts, tokens, channels)",
                where=site,
                mend="use mode zero",
            )
        rest = x[:, 1:].float()
        if self.real is None:
            return x.new_zeros(len(x), 2, x.shape[-1]).float().copy_(_two(x[:, 0], rest.mean(1)))
        real = self.real[:, 1:, None].to(x.device)
        return _two(x[:, 0], (rest * real).sum(1) / real.sum(1).clamp(min=1))

    def mean(self, site: str, index: int, like: Tensor) -> Tensor:
        """The means, placed over the tokens of a batch of that shape.

        Raises:
            UserError: nothing was calibrated for this site.
        """
        both = super().mean(site, index, like.new_empty(1, 2, like.shape[-1]))[0]
        placed = both[1].expand_as(like).clone()
        if like.shape[1] > 1:
            placed[:, 0] = both[0]
        return placed


def _two(first: Tensor, rest: Tensor) -> Tensor:
    from torch import stack

    return stack([first.float(), rest], dim=1)
