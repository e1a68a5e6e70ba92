"""Does one measurement of a picture alone give the relation away?

For each pair of relations that groups contrast, and for each cue, a baseline guesses which of the
two a scene shows from that cue only. Where a cue is what one of the relations says (who is farther
left, for left of), it says nothing against a set: those are shown and not judged.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ablate2tune.scenes.checking.priors import (
    CHANCE,
    FOLDS,
    Guess,
    Pair,
    guess_of,
    pair_of,
    scores_of,
)
from ablate2tune.scenes.dataset.records import SceneRecord

MARGIN = 0.05
"""What a cue may tell beyond chance."""
BINS = 4
"""Bins of a measurement, of equal counts within a pair of relations."""
LEAST = 20
"""Scenes of a pair of relations below which nothing is judged."""


class CueScene(NamedTuple):
    """What the cues are measured on: boxes as (left, top, right, bottom), fractions of the frame.

    `hides` is the fraction of the object that the subject hides, less the reverse; nan if unknown.
    """

    group: str
    relation: str
    subject: Sequence[float]
    object: Sequence[float]
    colours: tuple[str, str]
    hides: float = float("nan")


def _size(box: Sequence[float]) -> float:
    """Logarithm of a box's area."""
    return float(np.log(max(1e-9, (box[2] - box[0]) * (box[3] - box[1]))))


def _middle(low: float, high: float) -> float:
    return (low + high) / 2


def _whole(scene: CueScene, axis: int) -> float:
    """Middle of the two as a whole."""
    boxes = scene.subject, scene.object
    return _middle(min(b[axis] for b in boxes), max(b[axis + 2] for b in boxes))


CUES: dict[str, Callable[[CueScene], float | str]] = {
    "lower edge": lambda s: s.subject[3] - s.object[3],
    "upper edge": lambda s: s.subject[1] - s.object[1],
    "height of the middle": lambda s: (
        _middle(s.subject[1], s.subject[3]) - _middle(s.object[1], s.object[3])
    ),
    "side of the middle": lambda s: (
        _middle(s.subject[0], s.subject[2]) - _middle(s.object[0], s.object[2])
    ),
    "ratio of sizes": lambda s: _size(s.subject) - _size(s.object),
    "subject's size": lambda s: _size(s.subject),
    "object's size": lambda s: _size(s.object),
    "place across": lambda s: _whole(s, 0),
    "place down": lambda s: _whole(s, 1),
    "subject's colour": lambda s: s.colours[0],
    "object's colour": lambda s: s.colours[1],
    "occluder": lambda s: s.hides,
}
"""Measurement by cue."""
ASIDE = {"side of the middle"}
UPRIGHT = {"lower edge", "upper edge", "height of the middle"}
OWN: dict[str, set[str]] = {
    "left of": ASIDE,
    "right of": ASIDE,
    # Of two things in one line of sight, the nearer one hides the other: that is what is learnt.
    "in front of": {"occluder"},
    "behind": {"occluder"},
    "on top of": UPRIGHT | {"occluder"},
    "underneath": UPRIGHT | {"occluder"},
    "above": UPRIGHT,
    "below": UPRIGHT,
    "inside": UPRIGHT | ASIDE | {"occluder"},
    "next to": UPRIGHT | ASIDE | {"occluder"},
    "near": UPRIGHT | ASIDE | {"occluder"},
    "far from": UPRIGHT | ASIDE | {"occluder"},
}
"""Cues that are what a relation says."""


class CueCheck(NamedTuple):
    """The accuracy of every cue, by pair of relations; chance is one half."""

    by_pair: dict[Pair, dict[str, Guess]]

    def telling(self) -> list[tuple[Pair, str, Guess]]:
        """Cues that tell more than `MARGIN` beyond chance by the lower end of their interval, and
        are not what the relations say."""
        return [
            (pair, cue, guess)
            for pair, guesses in self.by_pair.items()
            for cue, guess in guesses.items()
            if guess.low > CHANCE + MARGIN and guess.scenes >= LEAST and cue not in own_cues(pair)
        ]

    def lines(self) -> list[str]:
        """A summary for people."""
        lines = [f"single cues, by chance {CHANCE:.0%} (in brackets what the relations say):"]
        for pair, guesses in self.by_pair.items():
            own = own_cues(pair)
            told = [
                f"({cue} {guess.accuracy:.1%})" if cue in own else f"{cue} {guess.accuracy:.1%}"
                for cue, guess in sorted(guesses.items(), key=lambda item: -item[1].accuracy)
            ]
            lines.append(f"  {' / '.join(pair)}: {', '.join(told)}")
        return lines


def own_cues(pair: Pair) -> set[str]:
    """Cues that are what either relation says."""
    return set().union(*(OWN.get(relation, set()) for relation in pair))


def cue_check(scenes: Sequence[CueScene]) -> CueCheck:
    """Cross-validated accuracy of each cue; the scenes of a group stay in one fold.

    Groups that show one relation twice ("between") take no part.
    """
    shown: dict[str, set[str]] = {}
    for scene in scenes:
        shown.setdefault(scene.group, set()).add(scene.relation)
    by_pair: dict[Pair, list[CueScene]] = {}
    for scene in scenes:
        if len(shown[scene.group]) == 2:
            by_pair.setdefault(pair_of(shown[scene.group]), []).append(scene)
    return CueCheck({pair: _guesses(pair, by_pair[pair]) for pair in sorted(by_pair)})


def _guesses(pair: Pair, scenes: list[CueScene]) -> dict[str, Guess]:
    groups = [scene.group for scene in scenes]
    fold = {group: k % FOLDS for k, group in enumerate(sorted(set(groups)))}
    folds, truth = [fold[group] for group in groups], [scene.relation for scene in scenes]
    found = {}
    for cue, measure in CUES.items():
        words = _binned([measure(scene) for scene in scenes])
        if words is not None:
            scores = scores_of([[word] for word in words], [pair] * len(scenes), truth, folds)
            found[cue] = guess_of(scores, groups)
    return found


def _binned(values: list[Any]) -> list[str] | None:
    """Numbers as words: which bin; None for what is not known."""
    if isinstance(values[0], str):
        return values
    numbers = np.array(values, float)
    if np.isnan(numbers).any():
        return None
    edges = np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1])
    return [str((value > edges).sum()) for value in numbers]


def cue_scenes(records: Sequence[SceneRecord]) -> list[CueScene]:
    """What the sidecars of rendered scenes measured.

    Raises:
        UserError: a sidecar is missing or damaged.
    """
    scenes = []
    for record in records:
        objects: Mapping[str, Any] = record.sidecar()["objects"]
        one, other = objects["subject"], objects["object"]
        hides = other.get("hidden_by", {}).get("subject", 0.0)
        hidden = one.get("hidden_by", {}).get("object", 0.0)
        scenes.append(
            CueScene(
                record.group_id, record.relation, one["box"], other["box"],
                (record.subject_colour, record.object_colour), hides - hidden,
            )
        )  # fmt: skip
    return scenes
