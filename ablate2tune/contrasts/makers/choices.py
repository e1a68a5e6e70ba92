"""Contrasts of texts alone: a prompt, the answer that is right, and answers that are wrong.

    {"prompt": "When Ann and Bob met, Bob gave a book to", "answer": " Ann", "foils": [" Bob"]}

Any task of a language model that can be put so is localized this way.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ablate2tune.contrasts.contrast import SPLITS, Contrast, Contrasts, Role
from ablate2tune.contrasts.makers.captioned_folder import span_of
from ablate2tune.contrasts.reading import MAKERS, Maker
from ablate2tune.disk.user_rows import UserRow, read_user_rows
from ablate2tune.errors import UserError, did_you_mean

FILE = "choices.jsonl"
KEYS = ("prompt", "answer", "foils", "controls", "spans", "id", "group", "split")
MEND = (
    'write {"prompt": "...", "answer": " ...", "foils": [" ..."]} in each line '
    "(docs/language-models.md)"
)


class Choice(NamedTuple):
    """One prompt with its answers, as they are put behind it."""

    prompt: str
    answer: str
    foils: list[str]
    controls: list[str]
    """Answers that are wrong in something else than the foils; none in all lines or in none."""

    def read_bytes(self) -> bytes:
        """The content, as of a file."""
        return json.dumps(self).encode()


def read_choices(path: Path) -> Contrasts:
    """The choices of a file, or of the choices.jsonl in a folder, in the order of its lines.

    A line without `id` goes by its number, one without `group` is a group of its own; the
    capability goes by the file's or the folder's name.

    Raises:
        UserError: a line is not as docs/language-models.md says, or two have one id.
    """
    file = path / FILE if path.is_dir() else path
    rows = read_user_rows(file)
    if not rows:
        raise UserError("is empty", where=str(file), mend=MEND)
    examples: dict[str, Contrast] = {}
    name = path.resolve().stem if path.is_file() else path.resolve().name
    for row in rows:
        example = _contrast(row, name)
        if example.id in examples:
            raise UserError(
                f"has the id {example.id!r} of an earlier line",
                where=row.where,
                mend="give each line an `id` of its own",
            )
        first = next(iter(examples.values()), example)
        if ("control" in example.texts) != ("control" in first.texts):
            raise UserError(
                "has controls and the first line none, or the reverse",
                where=row.where,
                mend="give all lines `controls` or none",
            )
        examples[example.id] = example
    return Contrasts(list(examples.values()))


def _contrast(row: UserRow, capability: str) -> Contrast:
    for key in row.values:
        if key not in KEYS:
            raise UserError(f"no key {key!r}", where=row.where, mend=did_you_mean(key, KEYS))
    prompt, answer = row.text("prompt", MEND), row.text("answer", MEND)
    foils, controls = _answers(row, "foils"), _answers(row, "controls")
    if not foils:
        raise UserError("'foils' is missing", where=row.where, mend=MEND)
    if answer in (*foils, *controls):
        raise UserError("the answer is among its foils", where=row.where, mend="take it out")
    name = row.name("id", row.where.rpartition(":")[2])
    texts: dict[Role, str] = {"true": prompt + answer, "target": prompt + foils[0]}
    if controls:
        texts["control"] = prompt + controls[0]
    given: Any = row.values.get("spans", {})
    if not isinstance(given, dict):
        raise UserError("spans is no object", where=row.where, mend='write {"subject": "Ann"}')
    spans = {name: span_of(row, name, phrase, prompt) for name, phrase in given.items()}
    choice = Choice(prompt, answer, foils, controls)
    return Contrast(
        id=name,
        cluster=row.name("group", name),
        payload=choice,
        texts=texts,
        spans=dict.fromkeys(texts, spans),
        split=row.one_of("split", SPLITS),
        foils={"target": capability},
    )


def _answers(row: UserRow, key: str) -> list[str]:
    given: Any = row.values.get(key, [])
    if not isinstance(given, list) or not all(isinstance(x, str) and x.strip() for x in given):
        raise UserError(f"{key!r} is no list of texts", where=row.where, mend=MEND)
    if len(set(given)) < len(given):
        raise UserError(f"{key!r} holds a text twice", where=row.where, mend="take one out")
    return given


def _knows(path: Path) -> bool:
    return path.suffix == ".jsonl" if path.is_file() else (path / FILE).is_file()


MAKERS.add("choices", Maker(f"prompts with answers ({FILE})", _knows, read_choices))
