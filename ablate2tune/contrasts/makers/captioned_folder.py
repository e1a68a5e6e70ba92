"""Contrasts of the user's own: pictures in a folder and a contrasts.jsonl beside them.

    {"file_name": "1.png", "text": "a red cube", "foil": "a blue cube", "group": "1"}

Any capability that can be put into a true and a false caption is localized this way.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate2tune.contrasts.contrast import SPLITS, Contrast, Contrasts, Role, Span
from ablate2tune.contrasts.reading import MAKERS, Maker
from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.disk.user_rows import UserRow, read_user_rows
from ablate2tune.errors import UserError, did_you_mean

FILE = "contrasts.jsonl"
KEYS: dict[Role, str] = {"true": "text", "target": "foil", "control": "control"}
"""The key of each role's text."""
OTHERS = ("file_name", "id", "group", "split", "spans")
SPANS = 'write {"text": {"colour": "red"}, "foil": {"colour": "blue"}}, words or [start, end)'
MEND = f"{FILE} needs file_name, text and foil in each line (docs/contrasts.md)"


def read_captioned_folder(folder: Path) -> Contrasts:
    """The contrasts of a folder, in the order of its lines.

    A line without `id` goes by its file's name without ending, one without `group` is a group of
    its own. The capability goes by the folder's name.

    Raises:
        UserError: a line is not as docs/contrasts.md says, a picture is missing or cannot be
            read, some lines have a control foil and others none, or two have one id.
    """
    path = folder / FILE
    rows = read_user_rows(path)
    if not rows:
        raise UserError("is empty", where=str(path), mend=MEND)
    examples: dict[str, Contrast] = {}
    lines: dict[str, str] = {}
    first = rows[0]
    for row in rows:
        example = _contrast(row, folder)
        if example.id in examples:
            raise UserError(
                f"has the id {example.id!r} of line {lines[example.id]}",
                where=row.where,
                mend="give each line an `id` of its own",
            )
        if ("control" in row.values) != ("control" in first.values):
            has, other = ("a", "none") if "control" in row.values else ("no", "one")
            raise UserError(
                f"has {has} control foil, the first line has {other}",
                where=row.where,
                mend="give all lines a `control` or none",
            )
        examples[example.id] = example
        lines[example.id] = row.where.rpartition(":")[2]
    for example, row in zip(examples.values(), rows, strict=True):
        _check_picture(example, row)
    return Contrasts(list(examples.values()))


def _contrast(row: UserRow, folder: Path) -> Contrast:
    values = row.values
    known = [*KEYS.values(), *OTHERS]
    for key in values:
        if key not in known:
            raise UserError(f"no key {key!r}", where=row.where, mend=did_you_mean(key, known))
    picture = row.path("file_name", folder, MEND)
    texts: dict[Role, str] = {
        role: row.text(key, MEND)
        for role, key in KEYS.items()
        if role != "control" or key in values
    }
    for role, key in KEYS.items():
        if role != "true" and texts.get(role) == texts["true"]:
            raise UserError(
                f"the {key} is the text itself", where=row.where, mend="write a false caption"
            )
    name = Path(str(values["file_name"])).with_suffix("").as_posix()
    example_id = row.name("id", name)
    return Contrast(
        id=example_id,
        cluster=row.name("group", example_id),
        payload=picture,
        texts=texts,
        spans=_spans(row, texts),
        split=row.one_of("split", SPLITS),
        foils={"target": folder.resolve().name},
    )


def _spans(row: UserRow, texts: Mapping[Role, str]) -> dict[Role, dict[str, Span]]:
    """The phrases of each text: given for each by its key, or once for all of them."""
    given = row.values.get("spans", {})
    roles: dict[str, Role] = {KEYS[role]: role for role in texts}
    if not isinstance(given, dict):
        raise UserError("spans is no object", where=row.where, mend=SPANS)
    by_key = given if set(given) & set(KEYS.values()) else dict.fromkeys(roles, given)
    found: dict[Role, dict[str, Span]] = {}
    for key, phrases in by_key.items():
        if key not in roles or not isinstance(phrases, dict):
            what = "is no object" if key in roles else f"belongs to none of {', '.join(roles)}"
            raise UserError(f"spans of {key!r} {what}", where=row.where, mend=SPANS)
        text = texts[roles[key]]
        found[roles[key]] = {name: span_of(row, name, x, text) for name, x in phrases.items()}
    return found


def span_of(row: UserRow, name: str, phrase: Any, text: str) -> Span:
    """The place of a phrase in a text, given as words that come once, or as [start, end).

    Raises:
        UserError: it is neither.
    """
    if isinstance(phrase, str):
        found = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", text)]
        if not phrase or len(found) != 1:
            raise UserError(
                f"phrase {name!r}: {phrase!r} is {len(found)} times in {text!r}",
                where=row.where,
                mend="give its place as [start, end) in characters",
            )
        return found[0]
    whole = isinstance(phrase, list) and [type(x) for x in phrase] == [int, int]
    if not whole or not 0 <= phrase[0] < phrase[1] <= len(text):
        raise UserError(
            f"phrase {name!r}: {phrase!r} is no place in {text!r}", where=row.where, mend=SPANS
        )
    return phrase[0], phrase[1]


def _check_picture(example: Contrast, row: UserRow) -> None:
    try:
        read_picture(example.payload)
    except UserError as error:
        raise UserError(
            f"{example.payload}: {error.what}", where=row.where, mend=error.mend
        ) from error


def _knows(folder: Path) -> bool:
    return (folder / FILE).is_file()


MAKERS.add("folder", Maker(f"a folder of your own ({FILE})", _knows, read_captioned_folder))
