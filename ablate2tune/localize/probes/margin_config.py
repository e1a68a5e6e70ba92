"""The keys of the margin probe; they lie in `localize` itself."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ablate2tune.settings import Positive, Settings, Sigma


class MarginConfig(Settings):
    """Margins between captions and foils, on noised pictures."""

    groups: Positive = 96
    """Contrast groups that the margins are measured on."""
    images: Literal["rendered", "own", "both"] = "rendered"
    """What the margins are measured on: rendered pictures; pictures that the model made of the
    same captions and `compare.judge` verified; or both, each ranked and their agreement told."""
    sigmas: Annotated[list[Sigma], Field(min_length=1)] = [0.95, 0.85, 0.7]
    """Noise levels of the margin probe."""
    noises: Positive = 1
    """Noise draws per example and noise level."""
    batch_size: Positive = 64
    """Latents per forward."""
    prefix_reuse: bool = True
    """Compute the blocks before an ablated one once per batch."""
    batch_conditions: bool = True
    """Let small batches of several conditions share a forward."""
    tokens: list[str] = []
    """Named phrases of the captions (of rendered scenes: relation, subject, object): each block is
    also skipped at the text positions of each of these alone, to see which it matters for."""
    adapter_rank: Positive = 16
    """Rank of the adapter whose gain is measured."""

    @field_validator("sigmas")
    @classmethod
    def _check_sigmas(cls, sigmas: list[float]) -> list[float]:
        if len(set(sigmas)) < len(sigmas):
            raise ValueError("a noise level comes twice; raise localize.noises for more draws")
        return sigmas
