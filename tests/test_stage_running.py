"""What the runner promises of every stage, on one that adds up two numbers."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablate2tune.disk.identity import NOT_HERE
from ablate2tune.errors import UserError
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe, load_recipe
from ablate2tune.run_dir import RunDir
from ablate2tune.stage import Job, Stage
from ablate2tune.stage_running import run_stage


class Adder:
    """A stage that writes `seed + draw` and a figure of it; counts what it did."""

    def __init__(self, **declared):
        self.worked, self.presented, self.fails, self.tracked = 0, 0, False, True
        self.stage = Stage(
            name="add",
            inputs=lambda recipe: {"seed": recipe.seed, "train": recipe.train.decisive()},
            work=self.work,
            presenting=lambda recipe: recipe.compare.presenting(),
            present=self.present,
            scratch=("cache",),
            **declared,
        )

    def work(self, job: Job) -> None:
        self.worked += 1
        (job.folder / "cache").mkdir(exist_ok=True)
        (job.folder / "cache" / "kept").write_text("")
        if self.fails:
            raise UserError("lower train.draw")
        (job.folder / "sum").write_text(str(job.recipe.seed + job.recipe.train.draw))

    def present(self, job: Job) -> bool:
        self.presented += 1
        return self.tracked

    def run(self, folder: Path, *overrides: str) -> None:
        run_stage(self.stage, recipe(folder, *overrides), Terminal())


def recipe(folder: Path, *overrides: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text("name: x\nmodel: {path: none}\n")
    return load_recipe(path, [f"runs={folder}", *overrides])


@pytest.fixture
def adder() -> Adder:
    return Adder()


def test_done_before(adder: Adder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adder.run(tmp_path, "train.draw=2")
    adder.run(tmp_path, "train.draw=2")
    assert (adder.worked, adder.presented) == (1, 1)
    assert "add: done before, inputs unchanged" in capsys.readouterr().out
    assert (tmp_path / "x" / "add" / "sum").read_text() == "2"


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_text("3"), lambda path: shutil.rmtree(path.parent)],
)
def test_what_is_gone_or_broken_is_made_again(
    adder: Adder, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage
) -> None:
    adder.run(tmp_path, "train.draw=2")
    damage(tmp_path / "x" / "add" / "sum")
    adder.run(tmp_path, "train.draw=2")
    assert (tmp_path / "x" / "add" / "sum").read_text() == "2"
    assert "made again" in capsys.readouterr().out
    adder.run(tmp_path, "train.draw=2")
    assert adder.worked == 2


def test_scratch_may_go(adder: Adder, tmp_path: Path) -> None:
    adder.run(tmp_path)
    (tmp_path / "x" / "add" / "cache" / "kept").unlink()
    adder.run(tmp_path)
    assert adder.worked == 1


def test_a_folder_without_results_belongs_to_nobody(tmp_path: Path) -> None:
    adder = Adder(keyed=("cache",))
    adder.fails = True
    with pytest.raises(UserError, match="lower"):
        adder.run(tmp_path, "train.draw=2")
    adder.fails = False
    adder.run(tmp_path, "train.draw=1")
    assert (tmp_path / "x" / "add" / "sum").read_text() == "1"


def test_a_refusal_before_any_result_claims_nothing(tmp_path: Path) -> None:
    """A folder whose manifest was lost belonged to the next recipe that was tried on it."""
    adder = Adder(results=("sum",))
    adder.run(tmp_path, "train.draw=2")
    (tmp_path / "x" / "manifest.json").unlink()
    adder.fails = True  # as stages do that know the folder's content by themselves
    with pytest.raises(UserError, match="lower"):
        adder.run(tmp_path, "train.draw=1")
    assert RunDir(tmp_path / "x", {}).record("add") == {}
    adder.fails = False
    adder.run(tmp_path, "train.draw=2")
    assert RunDir(tmp_path / "x", {}).record("add")["files"].keys() == {"sum"}


def test_what_fails_after_a_result_keeps_the_claim(adder: Adder, tmp_path: Path) -> None:
    def work(job: Job) -> None:
        adder.work(job)
        raise UserError("no more room")

    stage = dataclasses.replace(adder.stage, work=work)
    with pytest.raises(UserError, match="room"):
        run_stage(stage, recipe(tmp_path, "train.draw=2"), Terminal())
    with pytest.raises(UserError, match=r"train\.draw was 2, is 1"):
        adder.run(tmp_path, "train.draw=1")


def test_what_decides_results_must_start_anew(adder: Adder, tmp_path: Path) -> None:
    adder.run(tmp_path, "train.draw=2")
    folder = tmp_path / "x" / "add"
    with pytest.raises(UserError) as caught:
        adder.run(tmp_path, "train.draw=1")
    assert "train.draw was 2, is 1" in str(caught.value)
    assert f"`rm -r {folder}`" in str(caught.value)
    assert (folder / "sum").read_text() == "2"


def test_what_steers_may_change(adder: Adder, tmp_path: Path) -> None:
    adder.run(tmp_path, "train.checkpoint_every=5")
    adder.run(tmp_path, "train.checkpoint_every=6")
    assert adder.worked == 1


def test_what_presents_is_shown_anew(adder: Adder, tmp_path: Path) -> None:
    adder.run(tmp_path, "compare.wandb_project=a")
    adder.run(tmp_path, "compare.wandb_project=b")
    assert (adder.worked, adder.presented) == (1, 2)


def test_a_failed_showing_is_tried_again(adder: Adder, tmp_path: Path) -> None:
    adder.tracked = False
    adder.run(tmp_path)
    adder.tracked = True
    adder.run(tmp_path)
    adder.run(tmp_path)
    assert (adder.worked, adder.presented) == (1, 2)


def test_free_keys_keep_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adder = Adder(free=("train.draw",))
    adder.run(tmp_path, "train.draw=2")
    adder.run(tmp_path, "train.draw=1")
    assert "train.draw changed" in capsys.readouterr().out
    assert (tmp_path / "x" / "add" / "sum").read_text() == "1"
    with pytest.raises(UserError, match=r"train\.rank was 16, is 1"):
        adder.run(tmp_path, "train.rank=1", "train.draw=3")


def test_inputs_are_those_that_the_work_began_with(adder: Adder, tmp_path: Path) -> None:
    """Another ranking meanwhile makes the adapter stale; a model fetched meanwhile is known now."""
    found = {"ranking": "first", "model": NOT_HERE}

    def work(job: Job) -> None:
        adder.work(job)
        found.update(ranking="second", model="content 12")

    stage = dataclasses.replace(adder.stage, inputs=lambda _: {"of": dict(found)}, work=work)
    run_stage(stage, recipe(tmp_path), Terminal())
    record = RunDir(tmp_path / "x", {}).record("add")
    assert record["inputs"] == {"of": {"ranking": "first", "model": "content 12"}}


def test_one_process_at_a_time(adder: Adder, tmp_path: Path) -> None:
    hold = (
        "import pathlib, sys; from ablate2tune.disk.folder_lock import lock\n"
        "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    folder = tmp_path / "x" / "add"
    command = [sys.executable, "-c", hold, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {other.pid} on .* works in it"):
            adder.run(tmp_path)
        other.kill()
    adder.run(tmp_path)
    assert adder.worked == 1


def test_two_stages_at_once_keep_both_records(tmp_path: Path) -> None:
    """Each opened the manifest before the other wrote to it."""
    first, second = RunDir(tmp_path, {}), RunDir(tmp_path, {})
    with first.stage("localize", {"a": 1}), second.stage("train", {"b": 2}):
        pass
    again = RunDir(tmp_path, {})
    assert again.is_done("localize", {"a": 1}) and again.is_done("train", {"b": 2})


def test_a_secondary_process_computes_and_writes_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    alone, shared = Adder(), Adder(several_processes=True)
    (tmp_path / "x" / "add").mkdir(parents=True)
    alone.run(tmp_path)
    shared.run(tmp_path)
    assert (alone.worked, shared.worked) == (0, 1)
    assert not (tmp_path / "x" / "manifest.json").exists()
