"""Run directories: whose folder it is, whether it is done, what of it is broken."""

from pathlib import Path

import pytest

from ablate2tune.disk.identity import NOT_HERE
from ablate2tune.errors import UserError
from ablate2tune.run_dir import RunDir


def test_stage_is_done_only_with_the_same_inputs(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run", {})
    inputs = {"train": {"steps": 3}}
    assert not run.is_done("train", inputs)
    with run.stage("train", inputs) as folder:
        assert folder == tmp_path / "run" / "train"
    again = RunDir(tmp_path / "run", {})
    assert again.is_done("train", inputs)
    assert not again.is_done("train", {"train": {"steps": 4}})


def test_failed_stage_is_not_done_and_resumes(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run", {})
    with pytest.raises(RuntimeError), run.stage("train", {"a": 1}):
        raise RuntimeError
    again = RunDir(tmp_path / "run", {})
    assert not again.is_done("train", {"a": 1})
    with again.stage("train", {"a": 1}):
        pass
    assert again.is_done("train", {"a": 1})


def test_other_inputs_are_refused_by_key(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run", {})
    with run.stage("train", {"train": {"steps": 3}}) as folder:
        (folder / "made").write_text("")
    with pytest.raises(UserError, match=r"train\.steps was 3, is 4") as caught:
        run.claim("train", {"train": {"steps": 4}})
    assert "another recipe" in str(caught.value)


def test_a_stage_is_claimed_anew_where_only_free_keys_differ(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run", {})
    first = {"compare": {"judge": None, "steps": 3}}
    free = ("compare.judge",)
    assert run.claim("compare", first, free=free) == [], "there is no such stage yet"
    with run.stage("compare", first) as folder:
        (folder / "kept").write_text("")
    judged = {"compare": {"judge": {"depth": "a"}, "steps": 3}}
    for other in ({**judged, "judge": "hash"}, {"compare": {"judge": None, "steps": 4}}):
        with pytest.raises(UserError, match="another recipe"):
            run.claim("compare", other, free=free)
    longer = {"compare": {**first["compare"], "judgement": 1}}
    with pytest.raises(UserError, match="another recipe"):
        run.claim("compare", longer, free=free)
    assert run.is_done("compare", first)
    assert run.claim("compare", judged, free=free) == ["compare.judge.depth"]
    assert not run.is_done("compare", judged) and not run.is_done("compare", first)
    with run.stage("compare", judged):
        assert (folder / "kept").exists()
    assert RunDir(tmp_path / "run", {}).is_done("compare", judged)


def test_what_could_not_be_hashed_yet_fits_any_content(tmp_path: Path) -> None:
    """A model that the first run fetched from the hub is known by its content from then on."""
    run = RunDir(tmp_path / "run", {})
    run.claim("train", {"model": NOT_HERE, "seed": 1})
    (run.folder("train")).mkdir()
    (run.folder("train") / "made").write_text("")
    run.claim("train", {"model": "content 12", "seed": 1})
    with pytest.raises(UserError, match="model has other content than before"):
        run.claim("train", {"model": "content 34", "seed": 1})


def test_in_what_a_stage_ran_otherwise(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run", {})
    assert run.otherwise("train", {"seed": 1}) == [], "it never ran"
    run.claim("train", {"seed": 1, "train": {"steps": 3, "rank": 4}, "data": "content 12"})
    told = run.otherwise("train", {"train": {"steps": 4, "rank": 4}, "localize": {"mode": "mean"}})
    assert told == ["train.steps was 3, is 4"]
    assert run.otherwise("train", {"seed": 1, "data": "content 12"}) == []


@pytest.mark.parametrize("text", ["[]", "{}", '{"stages": []}'])
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: is no manifest of a run; delete it"):
        RunDir(tmp_path, {}).is_done("train", {})
