"""What modes and addresses need beside the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ablate2tune.ablation.support.means import Means
from ablate2tune.ablation.support.sparse_features import SparseFeatures


@dataclass(frozen=True)
class Support:
    """What some modes and addresses need beside the model; rows are those of one condition."""

    means: Means | None = None
    """Calibrated means, and spreads where they were collected."""
    directions: Mapping[str, Tensor] = field(default_factory=dict)
    """(channels,) by the address that is ablated."""
    features: Mapping[str, SparseFeatures] = field(default_factory=dict)
    """Sparse autoencoders by the block whose output they are over."""
    partners: Tensor | None = None
    """Whose activations each row gets instead of a donor's, (batch,); by default the row before."""
    donated: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """Activations of other examples by site, as `recorded` hands them out, one row per row of the
    batch. Where a site has them, `partners` do not count."""
    patched: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """Activations of the same examples under another caption by site, as `recorded` hands them out
    (`states` for modes that act on whole streams), one row per row of the batch."""
    row_seeds: Sequence[int] = ()
    """For modes that draw: a seed for each row of the batch, of its example alone."""
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    """For `@tokens=NAME`: which text positions the name means, bool, (batch, text tokens)."""
