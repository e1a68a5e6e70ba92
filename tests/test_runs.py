"""Files written whole, rows that survive a torn line, stages that know their inputs."""

import json
from pathlib import Path

import pytest

from ablate2tune import runs
from ablate2tune.errors import UserError


def test_write_json_leaves_no_temporary_file(tmp_path: Path) -> None:
    runs.write_json(tmp_path / "a" / "b.json", {"x": 1})
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": 1}


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        runs.write_text(tmp_path / "file" / "below.txt", "x")


def test_append_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    runs.append_jsonl(path, [{"a": 1}, {"a": 2}])
    with open(path, "ab") as file:
        file.write(b'{"a": 3')
    assert runs.read_jsonl(path) == [{"a": 1}, {"a": 2}]
    runs.append_jsonl(path, [{"a": 4}])
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n{"a": 4}\n'


def test_damaged_middle_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2"):
        runs.read_jsonl(path)


def test_content_hash_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("1")
    first = runs.content_hash(tmp_path / "d")
    (tmp_path / "d" / "x").write_text("2")
    second = runs.content_hash(tmp_path / "d")
    (tmp_path / "d" / "x").rename(tmp_path / "d" / "y")
    third = runs.content_hash(tmp_path / "d")
    assert len({first, second, third}) == 3


def test_stage_is_done_only_with_the_same_inputs(tmp_path: Path) -> None:
    run = runs.RunDir(tmp_path / "run", {})
    inputs = {"train": {"steps": 3}}
    assert not run.is_done("train", inputs)
    with run.stage("train", inputs) as folder:
        assert folder == tmp_path / "run" / "train"
    again = runs.RunDir(tmp_path / "run", {})
    assert again.is_done("train", inputs)
    assert not again.is_done("train", {"train": {"steps": 4}})


def test_failed_stage_is_not_done_and_resumes(tmp_path: Path) -> None:
    run = runs.RunDir(tmp_path / "run", {})
    with pytest.raises(RuntimeError), run.stage("train", {"a": 1}):
        raise RuntimeError
    again = runs.RunDir(tmp_path / "run", {})
    assert not again.is_done("train", {"a": 1})
    with again.stage("train", {"a": 1}):
        pass
    assert again.is_done("train", {"a": 1})


def test_other_inputs_are_refused_by_key(tmp_path: Path) -> None:
    run = runs.RunDir(tmp_path / "run", {})
    with run.stage("train", {"train": {"steps": 3}}):
        pass
    with pytest.raises(UserError, match=r"train\.steps was 3, is 4") as caught:
        run.claim("train", {"train": {"steps": 4}})
    assert "another recipe" in str(caught.value)


def test_a_stage_is_reopened_where_only_free_keys_differ(tmp_path: Path) -> None:
    run = runs.RunDir(tmp_path / "run", {})
    first = {"compare": {"judge": None, "steps": 3}}
    assert not run.reopen("compare", first, ("compare.judge",)), "there is no such stage yet"
    with run.stage("compare", first) as folder:
        (folder / "kept").write_text("")
    assert not run.reopen("compare", first, ("compare.judge",)), "nothing differs"
    judged = {"compare": {"judge": {"depth": "a"}, "steps": 3}, "judge": "hash"}
    assert not run.reopen("compare", judged, ("compare.judge",)), "judge differs, too"
    other = {"compare": {"judge": {"depth": "a"}, "steps": 4}}
    assert not run.reopen("compare", other, ("compare.judge",)), "steps differ, too"
    assert not run.reopen("compare", {"compare": {"judgement": 1, **first["compare"]}}, ("judge",))
    assert run.is_done("compare", first)
    assert run.reopen("compare", judged, ("compare.judge", "judge"))
    again = runs.RunDir(tmp_path / "run", {})
    assert not again.is_done("compare", judged) and not again.is_done("compare", first)
    with again.stage("compare", judged) as folder:
        assert (folder / "kept").exists()
    assert again.is_done("compare", judged)
