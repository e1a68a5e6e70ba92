"""Ablations as they are typed on a command line: `ADDRESS`, `PATTERN` or `ADDRESS=MODE`."""

import re
from collections.abc import Sequence

from ablate2tune.ablation.edits import Ablation
from ablate2tune.ablation.mode import MODES
from ablate2tune.components import Catalogue, select
from ablate2tune.components.addresses import EVERY_HEAD

SPEC = re.compile(
    r"(?P<path>.+?)"
    r"(?P<part>\[(?:heads|neurons|experts|cols|features)=[^\]]*\](?:@[^\[\]=]+(?:=[^=]+)?)?|@.+?)?"
    r"(?:=(?P<mode>[A-Za-z_][\w-]*))?"
)


def read_ablations(catalogue: Catalogue, specs: Sequence[str]) -> list[Ablation]:
    """The ablations that were typed; a pattern stands for every component that it matches.

    Without a mode blocks are skipped, features taken out and all else is zeroed. What is named
    twice counts once.

    >>> read_ablations(catalogue, ["model.layers.3", "model.layers.*.mlp=mean"])  # doctest: +SKIP
    [layer 3 by skip, all MLPs by mean]

    Raises:
        UserError: a pattern matches nothing, or there is no such mode.
    """
    found: dict[str, Ablation] = {}
    for spec in specs:
        match = SPEC.fullmatch(spec)
        path, part, mode = (match["path"], match["part"] or "", match["mode"]) if match else (
            spec, "", None,
        )  # fmt: skip
        if mode is not None:
            _ = MODES[mode]  # raises, with the names that are near
        pattern, part = (path + part, "") if part == EVERY_HEAD else (path, part)
        for component in select(catalogue, pattern):
            whole = component.level == "block" and "[" not in part
            address = component.address + part
            plain = "feature" if part.startswith("[features=") else "skip" if whole else "zero"
            found[address] = Ablation(address, mode or plain)
    return list(found.values())
