"""What an arm changed for the better and for the worse, over all pictures that a judge read."""

from collections.abc import Sequence
from typing import NamedTuple

from ablate2tune.compare.shown import Shown


class Changes(NamedTuple):
    """Pictures by whether they are right in the reference and in another arm."""

    stayed_right: int
    better: int
    """Wrong in the reference, right here."""
    worse: int
    """Right in the reference, wrong here."""
    stayed_wrong: int

    @property
    def before(self) -> int:
        """Right in the reference."""
        return self.stayed_right + self.worse

    @property
    def after(self) -> int:
        """Right in the other arm."""
        return self.stayed_right + self.better

    def line(self, reference: str, arm: str) -> str:
        """In words, for the terminal."""
        return (
            f"{arm}: {self.after} of {sum(self)} pictures right ({reference}: {self.before}); "
            f"better in {self.better}, worse in {self.worse}"
        )


def changes(reference: Sequence[Shown], other: Sequence[Shown], related: bool) -> Changes:
    """Count the pictures of prompts with a relation (`related`), or of those without.

    The arms show the same prompts and seeds, and a judge has read all. A picture is right where it
    shows both objects, and these as the prompt's relation says, if it has one.
    """
    kept = {True: 0, False: 0}
    changed = {True: 0, False: 0}
    for was, now in zip(reference, other, strict=True):
        if (was.prompt.relation is not None) != related:
            continue
        right = _is_right(now)
        (kept if right == _is_right(was) else changed)[right] += 1
    return Changes(kept[True], changed[True], changed[False], kept[False])


def _is_right(shown: Shown) -> bool:
    return bool(shown.read.objects if shown.prompt.relation is None else shown.read.spatial)
