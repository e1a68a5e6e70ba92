"""What a stage is: a name, what its results depend on, the work, and what it says of them.

Each folder that holds a stage owns a `stage.py` with one `STAGE`; `stage_running` runs one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """What a stage's functions are given."""

    recipe: Recipe
    folder: Path
    """The stage's own folder."""
    terminal: Terminal


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a recipe. It reads earlier stages' files, never their objects."""

    name: str
    """Also its folder's, below the run directory."""
    inputs: Callable[[Recipe], dict[str, Any]]
    """What its results depend on, JSON-able and nested; models and data by their `identity`, the
    settings of a section by `Settings.decisive`. Raises UserError where an input is missing."""
    work: Callable[[Job], None]
    """Makes the results in the stage's folder, or goes on with what a killed run left there. What
    is there and whole is kept: the work is also done again where a part of it was lost."""
    check: Callable[[Recipe], None] = lambda _: None
    """Raises UserError for what can be refused before any work, of earlier stages as well."""
    presenting: Callable[[Recipe], dict[str, Any]] = lambda _: {}
    """The values that only say how results are shown (see `Settings.presenting`)."""
    present: Callable[[Job], bool] = lambda _: True
    """Shows finished results anew from their files (figures, tracking); whether it succeeded: if
    not, the next run tries again."""
    tell: Callable[[Job], None] = lambda _: None
    """Says what the results are, from their files, and where."""
    several_processes: bool = False
    """Whether the processes of a launcher share the work; if not, the main one does it alone."""
    divides: bool = False
    """Whether the processes may hold the model in pieces, as FSDP2 does."""
    results: tuple[str, ...] = ("**/*",)
    """Globs below the folder: it belongs to its inputs from the first such file on."""
    keyed: tuple[str, ...] = ()
    """Names below the folder that say by content what they hold: they serve other inputs, too."""
    scratch: tuple[str, ...] = ()
    """Names below the folder that are no part of the results, and may be deleted afterwards."""
    free: tuple[str, ...] = ()
    """Input keys on which only a part of the files depends: with other values the work is done
    again in the same folder, and sees itself to what it may keep."""
