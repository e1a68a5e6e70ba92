"""Groups that fail: a worker in plain Python crashes, hangs or refuses where it is told to."""

import json
import os
import signal

import pytest
from own_files import POST  # type: ignore[import-not-found]
from pretended import pretended_worker

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.scenes.rendering import worker_pool
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

CONFIG = ScenesConfig(images=16, size=32, max_attempts=3, workers=1, timeout=2.0, holdout=0.0,
                      relations=["left of", "right of"])  # fmt: skip


@pytest.fixture
def behave(tmp_path, monkeypatch):
    """Sets what the worker does by group id or by the relation of a group's first twin."""

    def set_to(**behaviour):
        told = {key.replace("_", " "): value for key, value in behaviour.items()}
        command = pretended_worker(tmp_path, told)
        monkeypatch.setattr(worker_pool, "find_blender", lambda named: command)

    return set_to


def rows(folder):
    return [json.loads(line) for line in (folder / "failed.jsonl").open()]


@pytest.mark.parametrize(
    "what, reason, log",
    [
        ("crash", "Blender died: it ended with exit code 9", "out of luck"),
        ("hang", "Blender died: no answer within 0.3 s", ""),
        ("fail", "Blender failed: KeyError", ""),
        ("reject", "no acceptable view in 3 attempts", "outside the frame\n" * 3),
    ],
)
def test_a_failed_group_is_recorded_and_the_run_goes_on(behave, tmp_path, what, reason, log):
    config = CONFIG.model_copy(update={"timeout": 0.3 if what == "hang" else 5.0})
    folder = tmp_path / "set"
    behave(g000003=what)
    failed = rf"1 of 8 groups failed: {reason} \(1\).*others are whole"
    with pytest.raises(UserError, match=failed) as caught:
        render_dataset(config, 1, folder)
    assert ("raise scenes.timeout" in str(caught.value)) == (what == "hang")
    assert ("lower scenes.min_area" in str(caught.value)) == (what == "reject")
    (row,) = rows(folder)
    assert (row["group_id"], row["relation"], row["reason"]) == ("g000003", "right of", reason)
    assert (folder / row["log"]).read_text().startswith(f"{reason}\n{log}")
    assert len(read_dataset(folder)) == 14
    assert not [p for p in folder.rglob("g000003*") if p.parent.name != "failed"]

    behave()
    assert render_dataset(config, 1, folder).rendered_now == 2
    assert len(read_dataset(folder)) == 16
    assert not (folder / "failed.jsonl").exists() and not (folder / "failed").exists()


def test_a_relation_whose_first_groups_all_fail_stops_the_run(behave, tmp_path):
    behave(right_of="reject")
    message = (
        r"the first 3 groups of 'right of' failed: no acceptable view in 3 attempts \(3\): "
        r"outside the frame \(9\); logs"
    )
    with pytest.raises(UserError, match=message):
        render_dataset(CONFIG, 1, tmp_path / "set")
    assert len(rows(tmp_path / "set")) == 3


def test_a_relation_that_has_succeeded_may_fail_later(behave, tmp_path):
    behave(g000003="reject", g000005="reject", g000007="reject")
    with pytest.raises(UserError, match="3 of 8 groups failed"):
        render_dataset(CONFIG, 1, tmp_path / "set")
    assert len(read_dataset(tmp_path / "set")) == 10


def test_a_changed_asset_file_is_another_data_set(behave, tmp_path):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "post.py").write_text(POST.format(name="post"))
    config = CONFIG.model_copy(update={"world": "natural", "assets": own, "images": 2})
    behave()
    render_dataset(config, 1, tmp_path / "set")
    (own / "post.py").write_text(POST.format(name="post").replace("0.6", "0.7"))
    with pytest.raises(UserError, match=r"holds another data set: asset_scripts.post.py"):
        render_dataset(config, 1, tmp_path / "set")


def test_a_first_run_that_fails_does_not_claim_its_folder(behave, tmp_path):
    folder = tmp_path / "set"
    behave(left_of="fail")
    with pytest.raises(UserError, match="the first 3 groups of 'left of' failed"):
        render_dataset(CONFIG, 1, folder)
    assert rows(folder) and not (folder / "dataset.json").exists()
    assert not list(folder.rglob("*.png")) and not (folder / "sidecars").exists()
    behave()
    other = CONFIG.model_copy(update={"size": 48})
    assert render_dataset(other, 2, folder).images == 16
    behave(left_of="fail")
    with pytest.raises(UserError, match="holds another data set"):
        render_dataset(CONFIG, 1, folder)


def test_progress_tells_what_was_rejected(behave, tmp_path):
    told = []
    behave(g000003="reject")
    with pytest.raises(UserError, match="1 of 8 groups failed"):
        render_dataset(CONFIG, 1, tmp_path / "set", lambda *now: told.append(now))
    assert told[0] == (0, 16)
    assert told[-1] == (16, 16, "3 views rejected: outside the frame (3)")


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(behave, tmp_path):
    folder, told = tmp_path / "set", []
    behave()

    def press(done: int, total: int, note: str = "", /) -> None:
        if done == 6:
            os.kill(os.getpid(), signal.SIGINT)

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run without it
    try:
        with pytest.raises(KeyboardInterrupt):
            render_dataset(CONFIG, 1, folder, press, told.append)
    finally:
        signal.signal(signal.SIGINT, usual)
    kept = len(list((folder / "sidecars").iterdir()))
    assert 6 <= kept < 16
    assert told[-1] == (
        f"render-data: {kept} of 16 pictures are kept in {folder}; "
        "the same command renders the others"
    )
    assert render_dataset(CONFIG, 1, folder).rendered_now == 16 - kept
    assert len(read_dataset(folder)) == 16
