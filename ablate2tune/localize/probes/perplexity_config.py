"""The section `localize.perplexity`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ablate2tune.settings import Mark, Positive, Settings


class PerplexityConfig(Settings):
    """Probe `perplexity`: a language model's loss on text."""

    text: Annotated[Path | None, Mark.CONTENT] = None
    """A text file, a folder of text files, or a `.jsonl` with a document in the `text` of each
    line."""
    length: Annotated[int, Field(ge=4)] = 256
    """Tokens of a sequence."""
    sequences: Annotated[int, Field(ge=2)] = 64
    """Sequences that are measured; of a text of at least 16 documents, so many documents, with all
    their sequences. Others, as `localize.calibration_groups` says, are calibrated on."""
    batch_size: Annotated[Positive, Mark.STEERS] = 8
    """Sequences per forward."""
