"""Which caption of a scene a reader is given: the mixing table `scenes.captions`.

The table lies in the data set's `dataset.json`; a reader draws with a generator of its own, so that
what it sees is a function of its seed and step:

    rates = read_rates(folder)
    caption = choose(row, rates, Random(seed_for(seed, "caption", step, example)))
"""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from pydantic import ValidationError

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.scenes.captions import compose, reversed_claim, templates, things_of
from ablate2tune.scenes.scenes_config import CaptionRates
from ablate2tune.scenes.varied_captions import FORMS, varied

FILE = "dataset.json"
KEY = "captions"
ROUNDING = 1e-9
"""What rates that leave nothing may still leave in floating point."""


class Choice(NamedTuple):
    """A caption and what it is."""

    text: str
    true: bool
    """False: a foil, which the picture contradicts."""
    relation: bool
    """Whether it states a relation."""
    natural: bool
    bare: bool
    """Without colours."""


def choose(row: Mapping[str, Any], rates: CaptionRates, rng: Random) -> Choice:
    """The caption of a scene for one draw.

    Args:
        row: the scene's row of metadata, as in `metadata.jsonl`, `SceneRecord.row` or `datasets`;
            where it has a `frame`, captions with a relation say whose left or front is meant.
        rates: how often each kind is wanted.
        rng: seven numbers are taken from it, whatever the rates, so that a change of one rate
            leaves the draws of the others where they were.

    >>> row = {"relation": "behind", "subject": "ball", "subject_colour": "red",
    ...        "object": "cube", "object_colour": "blue"}
    >>> choose(row, CaptionRates(), Random(1)).text
    'a red ball behind a blue cube'
    >>> choose(row, CaptionRates(foil=1, bare=1), Random(1)).text
    'a ball in front of a cube'
    """
    kind, natural_draw, bare_draw, pick = (rng.random() for _ in range(4))
    varied_draw, form, typed_draw = (rng.random() for _ in range(3))
    if kind < rates.dropped:
        return Choice("", True, False, False, False)
    relation, things, frame = row["relation"], things_of(row), row.get("frame")
    kind -= rates.dropped
    foil = kind < rates.foil
    if foil:
        relation, things = reversed_claim(relation, things, row.get("contrast"))
    elif kind < rates.foil + rates.no_relation:
        relation = None
    natural, bare = natural_draw < rates.natural, bare_draw < rates.bare
    if typed_draw < rates.typed and row.get("prompt") and not foil:
        return Choice(_styled(row["prompt"], rates), True, True, True, False)
    if varied_draw < rates.varied and not frame:
        text = varied(row, relation, things, int(form * FORMS), bare)
        return Choice(_styled(text, rates), not foil, relation is not None, True, bare)
    known = templates(relation, things, frame)
    template = known[int(pick * len(known))] if natural else None
    text = compose(relation, things, template, bare, frame)
    return Choice(_styled(text, rates), not foil, relation is not None, natural, bare)


def possible(row: Mapping[str, Any], rates: CaptionRates) -> list[str]:
    """Every caption that `choose` may give for a scene, once each; for caches of embeddings.

    >>> row = {"relation": "behind", "subject": "ball", "subject_colour": "red",
    ...        "object": "cube", "object_colour": "blue"}
    >>> possible(row, CaptionRates(dropped=0.1, bare=0.5))
    ['', 'a red ball behind a blue cube', 'a ball behind a cube']
    """
    things, frame = things_of(row), row.get("frame")
    rest = 1 - rates.dropped - rates.foil - rates.no_relation
    claims = [
        (rates.foil, *reversed_claim(row["relation"], things, row.get("contrast"))),
        (rates.no_relation, None, things),
        (rest, row["relation"], things),
    ]
    texts = [""] if rates.dropped else []
    for rate, relation, named in claims:
        if rate <= ROUNDING:
            continue
        if rates.varied and not frame:
            bares = [False] * (rates.bare < 1) + [True] * (rates.bare > 0)
            texts += [varied(row, relation, named, k, b) for k in range(FORMS) for b in bares]
        if rates.varied >= 1 and not frame:
            continue
        forms: list[str | None] = [None] if rates.natural < 1 else []
        forms += templates(relation, named, frame) if rates.natural else ()
        for form in forms:
            texts += [compose(relation, named, form, False, frame)] if rates.bare < 1 else []
            texts += [compose(relation, named, form, True, frame)] if rates.bare else []
    if rates.typed and row.get("prompt"):
        texts.append(row["prompt"])
    return list(dict.fromkeys(_styled(text, rates) for text in texts))


def _styled(text: str, rates: CaptionRates) -> str:
    """The text with the style before it, if it has any words."""
    return f"{rates.style} {text}" if rates.style and text else text


def kept_rates(rates: CaptionRates) -> dict[str, Any]:
    """What `dataset.json` holds of the rates: nothing where they are the usual ones."""
    return {} if rates == CaptionRates() else {KEY: rates.model_dump(mode="json")}


def read_rates(folder: Path) -> CaptionRates:
    """The rates of a data set, or of a folder of its shards; the usual ones if it names none.

    Raises:
        UserError: they are damaged.
    """
    path = folder / FILE
    held = files.read_json(path).get(KEY, {}) if path.exists() else {}
    try:
        return CaptionRates.model_validate(held)
    except ValidationError as error:
        raise UserError(
            f"{KEY!r} is no table of caption rates: {error.errors()[0]['msg']}",
            where=str(path),
            mend="run render-data again, which writes it anew",
        ) from error
