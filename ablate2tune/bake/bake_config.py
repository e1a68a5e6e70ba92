"""A bake as a file: the same keys as the command's options."""

from pathlib import Path
from typing import Literal

from ablate2tune.models.model_config import Device
from ablate2tune.settings import Settings


class BakeConfig(Settings):
    """What is baked into what."""

    model: str
    """A folder, a hub name, or a .gguf file."""
    ablate: list[str] = []
    """Addresses or patterns."""
    project_out: str | None = None
    """FILE or FILE:NAME of a direction that is taken out of everything that writes."""
    prune: bool = False
    """Delete skipped layers."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the stored weights."""
    device: Device = "auto"
    """Where it is computed."""
    out: Path | None = None
    """The new folder."""
