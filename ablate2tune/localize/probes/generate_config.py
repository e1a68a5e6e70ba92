"""The section `localize.generate`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ablate2tune.settings import Mark, Positive, Settings


class GenerateConfig(Settings):
    """Probe `generate`: pictures drawn with and without each component, same prompts and seeds."""

    groups: Annotated[int, Field(ge=2)] = 24
    """Contrast groups whose captions are drawn and judged, where `compare.judge` is set."""
    pairs: Annotated[Path | None, Mark.CONTENT] = None
    """Folder of (image, caption) pairs as `datasets` calls an imagefolder: pictures, and a
    metadata.jsonl with `file_name` and `text`. Their captions are drawn; the pictures are what
    FID and frechet_clip compare with."""
    pair_count: Annotated[int, Field(ge=2)] | None = None
    """So many of the pairs, drawn by seed; all by default. Distances compare only at equal
    numbers of pictures."""
    seeds: Positive = 1
    """Pictures per caption."""
    steps: Positive = 16
    """Sampling steps."""
    true_cfg_scale: Annotated[float, Field(ge=1)] = 1.0
    """Classifier-free guidance against the empty prompt for calls that have it; 1 is off."""
    batch_size: Positive = 50
    """Pictures per call of the pipeline."""
    sublayers: Literal["top", "all", "none"] = "top"
    """Whose sub-layers are swept after the blocks: those of the `top_blocks` best blocks, or of
    every block, as a table per layer needs."""
    clip: Annotated[str, Mark.CONTENT] = "openai/clip-vit-base-patch32"
    """Folder or hub name of the CLIP model of clip_score and frechet_clip."""
    fid: Literal["auto", "on", "off"] = "auto"
    """FID with torch-fidelity's InceptionV3; auto: where torch-fidelity is installed."""
    inception: Annotated[Path | None, Mark.CONTENT] = None
    """File of InceptionV3's weights; torch-fidelity fetches its own by default."""
