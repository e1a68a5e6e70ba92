"""Words of another package for relations."""

from ablate2tune.scenes.wording import WORDINGS

WORDINGS.add("sailor's", {"left of": ("to port of",), "right of": ("to starboard of",)})
