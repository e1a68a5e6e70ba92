"""Files written whole, rows that survive a torn line, stages that know their inputs."""

import json
from pathlib import Path

import pytest

from ablate2tune import files
from ablate2tune.errors import UserError


def test_write_json_leaves_no_temporary_file(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a" / "b.json", {"x": 1})
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": 1}


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        files.write_text(tmp_path / "file" / "below.txt", "x")


def test_append_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    files.append_jsonl(path, [{"a": 1}, {"a": 2}])
    with open(path, "ab") as file:
        file.write(b'{"a": 3')
    assert files.read_jsonl(path) == [{"a": 1}, {"a": 2}]
    files.append_jsonl(path, [{"a": 4}])
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n{"a": 4}\n'


def test_damaged_middle_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2"):
        files.read_jsonl(path)


def test_content_hash_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("1")
    first = files.content_hash(tmp_path / "d")
    (tmp_path / "d" / "x").write_text("2")
    second = files.content_hash(tmp_path / "d")
    (tmp_path / "d" / "x").rename(tmp_path / "d" / "y")
    third = files.content_hash(tmp_path / "d")
    assert len({first, second, third}) == 3


def test_bytes_that_are_no_text_are_not_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        files.read_json(tmp_path / "a.json")
