"""The one exception for "the user must change something", and any other one in a line."""

import difflib
from collections.abc import Iterable


def reason(error: BaseException, most: int = 200) -> str:
    """What an exception says, as one line of at most so many characters; or else its type."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def one_line(error: BaseException) -> str:
    """Any exception as one line: its type and what it says."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class UserError(Exception):
    """Something the user can mend: printed as one line, exit code 2, no traceback.

    Args:
        what: what is wrong, in the user's words ("no such object 'bal'").
        where: the file, key or address it was found in.
        mend: what to do about it ("did you mean 'ball'?").
    """

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None):
        self.what, self.where, self.mend = what, where, mend
        line = f"{where}: {what}" if where else what
        line = f"{line}; {mend}" if mend else line
        super().__init__(" ".join(line.splitlines()))  # what was typed may hold several


class HeldError(UserError):
    """Another process works in the folder."""


class DivergedError(UserError):
    """A training whose loss or gradient is no number any more: of a study, a result."""


def did_you_mean(word: str, choices: Iterable[str], count: int = 3) -> str:
    """The nearest valid words as a mend: "did you mean 'ball'?"; all of them if none is near.

    Empty where there is nothing to choose from.
    """
    choices = list(choices)
    near = difflib.get_close_matches(word, choices, n=count, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(name) for name in near) + "?"
    return "use one of: " + ", ".join(choices) if choices else ""
