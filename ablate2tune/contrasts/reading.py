"""From a folder or file to contrasts: each maker says whether it is of its kind, and reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ablate2tune.contrasts.contrast import Contrasts
from ablate2tune.errors import UserError
from ablate2tune.registry import Registry


class Maker(NamedTuple):
    """One kind of folder that holds contrasts."""

    holds: str
    """What such a folder holds, for messages: "a contrasts.jsonl"."""
    knows: Callable[[Path], bool]
    """Whether a folder is of this kind."""
    read: Callable[[Path], Contrasts]
    """The contrasts of a folder of this kind; raises UserError for what the user can mend."""


MAKERS: Registry[Maker] = Registry("maker of contrasts", "ablate2tune.contrasts.makers")


def maker_of(folder: Path) -> Maker:
    """The first maker that knows a folder.

    Raises:
        UserError: there is no such folder, or no maker knows it.
    """
    if not folder.exists():
        raise UserError("no such folder or file", where=str(folder))
    for maker in MAKERS.values():
        if maker.knows(folder):
            return maker
    kinds = " nor ".join(maker.holds for maker in MAKERS.values())
    raise UserError(f"holds no contrasts: neither {kinds}", where=str(folder))


def read_contrasts(folder: Path) -> Contrasts:
    """The contrasts of a folder, by the first maker that knows it.

    Raises:
        UserError: what `maker_of` or its maker raises.
    """
    return maker_of(folder).read(folder)
