"""Marks on keys: what decides results, what presents, what steers, what counts by content."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ValidationError

from ablate2tune.disk.identity import identity
from ablate2tune.settings import Mark, Positive, Settings


class Inner(Settings):
    depth: Annotated[str, Mark.CONTENT] = "none"
    batch_size: Annotated[Positive, Mark.STEERS] = 4
    colour: Annotated[str, Mark.PRESENTS] = "red"


class Outer(Settings):
    steps: Positive = 3
    rows: Annotated[Positive, Mark.PRESENTS] = 6
    place: Annotated[Path | None, Mark.CONTENT] = None
    inner: Inner = Inner()
    either: Inner | str = "a"


def test_decisive_and_presenting(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    settings = Outer(place=tmp_path / "a", either=Inner())
    inner = {"depth": identity("none")}
    assert settings.decisive() == {
        "steps": 3, "place": identity(tmp_path / "a"), "inner": inner, "either": inner,
    }  # fmt: skip
    assert settings.presenting() == {
        "rows": 6, "inner": {"colour": "red"}, "either": {"colour": "red"},
    }  # fmt: skip
    assert Outer().decisive()["place"] is None and Outer().decisive()["either"] == "a"


class Grown(Outer):
    later = frozenset(("more", "steps"))
    more: int | None = None


def test_a_key_that_came_later_is_as_if_it_were_not_there_until_it_is_set() -> None:
    assert Grown().decisive() == Outer().decisive()
    assert Grown(more=0).decisive() == {**Outer().decisive(), "more": 0}


def test_a_moved_file_is_the_same_and_another_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = Outer(place=tmp_path / "a").decisive()
    (tmp_path / "b").mkdir()
    moved = (tmp_path / "a").rename(tmp_path / "b" / "a")
    assert Outer(place=moved).decisive() == first
    moved.write_text("2")
    assert Outer(place=moved).decisive() != first


def test_true_is_no_number_and_home_is_home() -> None:
    for values in ({"steps": True}, {"weights": [0.5, False]}):
        with pytest.raises(ValidationError, match="a number is needed, not true or false"):
            Kinds.model_validate(values)
    held = Kinds.model_validate({"flag": True, "either": True, "folder": "~/x", "model": "~/y"})
    assert held.flag is True and held.either is True
    assert held.folder == Path.home() / "x" and held.model == str(Path.home() / "y")
    assert Kinds(text="~/z").text == "~/z"


def test_an_empty_path_is_not_this_folder() -> None:
    for key in ("folder", "model"):
        with pytest.raises(ValidationError, match="is empty; name a file or a folder"):
            Kinds.model_validate({key: ""})
    held = Kinds.model_validate({"folder": ".", "text": ""})
    assert held.folder == Path() and held.text == ""


class Kinds(Settings):
    steps: Positive = 1
    weights: list[float] = []  # noqa: RUF012
    flag: bool = False
    either: bool | int = 1
    folder: Path | None = None
    model: Annotated[str, Mark.CONTENT] = "none"
    text: str = ""
