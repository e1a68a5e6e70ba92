"""The figures of an arm and of the difference of two, from verdicts.

Images of one prompt are not independent, so whole prompts are resampled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ablate2tune.statistics.rates import Counts, Difference, Rate, difference, rate
from ablate2tune.statistics.resampling import Resampling

T = TypeVar("T")


@dataclass(frozen=True)
class Figures(Generic[T]):
    """The figures of one arm (`Rate`) or of the difference of two (`Difference`)."""

    spatial: T
    """Images that show both objects in the prompt's relation."""
    spatial_strict: T
    """Images that show this and nothing else: no duplicate, no other object."""
    relation_given_objects: T
    """Images in the prompt's relation among those that show both objects."""
    objects: T
    """Images that show both objects in their colours."""
    extra: T
    """Images that show more than the two objects."""
    forgetting: T
    """Images that show both objects, on prompts without a relation."""
    per_relation: dict[str, T]
    """`spatial` by relation."""

    def as_dict(self) -> dict[str, Any]:
        """As in the result files."""
        return {
            name: {key: v.as_dict() for key, v in value.items()}  # type: ignore[union-attr]
            if isinstance(value, dict)
            else value.as_dict()
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Outcomes:
    """One arm's verdicts as arrays, bool (prompts, seeds)."""

    relations: Sequence[str]
    """The relation of each relation prompt."""
    spatial: np.ndarray
    objects: np.ndarray
    extra: np.ndarray
    plain_objects: np.ndarray
    """`objects` on the prompts without a relation, (plain prompts, seeds)."""


def score(
    before: Outcomes, after: Outcomes, how: Resampling
) -> tuple[Figures[Rate], Figures[Rate], Figures[Difference]]:
    """Figures before, after, and their paired differences."""
    early, late = _counts(before), _counts(after)
    paired = {key: difference(early[key], late[key], how) for key in early}
    return (
        _figures({key: rate(*early[key], how) for key in early}),
        _figures({key: rate(*late[key], how) for key in late}),
        _figures(paired),
    )


def read_figures(held: dict[str, Any], kind: Callable[..., T]) -> Figures[T]:
    """Figures as a result file holds them, `Rate` or `Difference`."""
    return Figures(
        **{key: kind(**value) for key, value in held.items() if key != "per_relation"},
        per_relation={key: kind(**value) for key, value in held["per_relation"].items()},
    )


def _counts(outcomes: Outcomes) -> dict[str, Counts]:
    objects, spatial = outcomes.objects, outcomes.spatial
    counts = {
        "spatial": _per_prompt(spatial),
        "spatial_strict": _per_prompt(spatial & ~outcomes.extra),
        "relation_given_objects": (spatial.sum(axis=1), objects.sum(axis=1)),
        "objects": _per_prompt(objects),
        "extra": _per_prompt(outcomes.extra),
        "forgetting": _per_prompt(outcomes.plain_objects),
    }
    for relation in dict.fromkeys(sorted(outcomes.relations)):
        chosen = np.array([r == relation for r in outcomes.relations])
        counts[f"per_relation.{relation}"] = _per_prompt(spatial[chosen])
    return counts


def _per_prompt(hits: np.ndarray) -> Counts:
    return hits.sum(axis=1), np.full(len(hits), hits.shape[1])


def _figures(values: dict[str, T]) -> Figures[T]:
    prefix = "per_relation."
    return Figures(
        **{key: value for key, value in values.items() if not key.startswith(prefix)},
        per_relation={k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)},
    )
