"""The command line as a user meets it: exit codes and one line per mistake."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ablate2tune import cli
from ablate2tune.cli import main

ROOT = Path(__file__).parent.parent


def run(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, **options)


def exit_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"ablate2tune {version('ablate2tune')}\n"


def test_unknown_key_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["localize", str(ROOT / "recipes/testbed.yaml"), "localise.mode=zero"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean 'localize'" in error


@pytest.mark.parametrize(
    ("command", "choice", "said"),
    [
        ("train", "train.method=lorra", "train.method = lorra: no way to adapt 'lorra'"),
        ("train", "train.optimizer=adam", "train.optimizer = adam: no optimizer 'adam'"),
        ("train", "train.targets=topp", "train.targets = 'topp': input should be 'top'"),
        ("localize", "localize.probe=margins", "localize.probe = 'margins': no probe 'margins'"),
        ("localize", "localize.mode=men", "localize.mode = 'men': no ablation mode 'men'"),
        ("study", "study.experiment=tunning", "study.experiment = tunning: no experiment"),
    ],
)
def test_a_choice_that_is_none_names_its_key(
    command: str, choice: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe = str(ROOT / "recipes/testbed.yaml")
    assert exit_code([command, recipe, choice, f"runs={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--format", "--format commfy: no LoRA format 'commfy'"),
        ("--targets", "--targets commfy: no trainer 'commfy'"),
    ],
)
def test_an_option_that_is_none_names_itself(
    option: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["export", "nowhere", option, "commfy"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error


def test_missing_model_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["localize", str(ROOT / "recipes/testbed.yaml"), f"model.path={tmp_path}/none"]
    assert exit_code(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no such model directory" in error


def test_train_without_data_names_the_mend(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe = str(ROOT / "recipes/testbed.yaml")
    assert exit_code(["train", recipe, f"data={tmp_path}", f"runs={tmp_path}"]) == 2
    assert "render-data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("compare.judge=checkpoints/jugde", "checkpoints/jugde: no such judge"),
        ("compare.judge.detector=./owl", "compare.judge.detector = ./owl: no such folder"),
        ("compare.prompts=9999", "held-out pairs"),
        ("compare.plain_prompts=9999", "held-out pairs"),
        ("scenes.test_images=0", "no test scenes to measure the judge on"),
    ],
)
def test_run_refuses_before_any_work_what_compare_would_refuse(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, override: str, words: str
) -> None:
    recipe = str(ROOT / "recipes/testbed.yaml")
    if override.startswith("compare.judge."):
        recipe = str(ROOT / "recipes/flux1-dev.yaml")
    places = [f"data={tmp_path}/d", f"runs={tmp_path}/r", f"scenes.folder={tmp_path}/d"]
    assert exit_code(["run", recipe, *places, override]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_interrupted_is_one_line_and_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ablate2tune.recipe.load_recipe", interrupted)
    assert exit_code(["train", "recipe.yaml"]) == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "interrupted" in error


def test_the_next_command_can_be_typed_as_it_stands() -> None:
    overrides = ["train.steps=2", "compare.judge={depth: a b}"]
    line = cli._next("train", Path("my recipes/r.yaml"), overrides)
    words = shlex.split(line.removeprefix("next: "))
    launch = ["accelerate", "launch", "-m", "ablate2tune"]
    assert words == [*launch, "train", "my recipes/r.yaml", *overrides]
    other = cli._typed("run", Path("r.yaml"), ["name=a", "seed=3"], "name=b")
    assert other == ["ablate2tune", "run", "r.yaml", "seed=3", "name=b"]


def test_what_is_next_is_what_the_model_can(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path):
    """A language model is trained where there is text, and never compared by pictures."""
    (tmp_path / "config.json").write_text("{}")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: x\nmodel: {{path: {tmp_path}}}\n")
    monkeypatch.setattr("ablate2tune.stage_running.run_stage", lambda *_: None)
    said = {}
    for command in ("localize", "train"):
        for text in ("train.text=null", "train.text=a.txt"):
            assert exit_code([command, str(recipe), text]) == 0
            said[command, text] = capsys.readouterr().out
    assert "train" in said.pop(("localize", "train.text=a.txt"))
    assert set(said.values()) == {""}


def test_what_was_typed_on_two_lines_is_told_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["components", "no\nmodel"]) == 2
    assert capsys.readouterr().err.startswith("ablate2tune: no model: no such folder")


def test_home_behind_an_equals_sign(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["direction", "none", "--one=a", "--other=b", "--out=~"]) == 2
    assert f"--out {Path.home()}: is there already" in capsys.readouterr().err


def test_directory_launch_does_not_shadow_the_standard_library() -> None:
    """`python ablate2tune` is what `accelerate launch ablate2tune` runs."""
    done = run(sys.executable, "ablate2tune", "--help")
    assert done.returncode == 0, done.stderr
    assert "render-data" in done.stdout


def test_module_launch() -> None:
    done = run(sys.executable, "-m", "ablate2tune", "train", "--help")
    assert done.returncode == 0, done.stderr


def test_the_command_line_alone_imports_no_torch() -> None:
    code = "import sys, ablate2tune.cli; print(sorted({'torch', 'transformers'} & {*sys.modules}))"
    done = run(sys.executable, "-c", code)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP tells its settings")
@pytest.mark.parametrize(
    ("own", "spins"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "70"}, "70"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
    ],
)
def test_threads_that_wait_leave_the_cores_to_others(own: dict[str, str], spins: str) -> None:
    """OpenMP itself tells what it took, once torch has brought it in."""
    code = (
        "import contextlib, ablate2tune.cli as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--version'])\n"
        "import torch; torch.ones(2) + 1"
    )
    usual = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    given = {**usual, "OMP_DISPLAY_ENV": "VERBOSE", **own}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=given, check=True)
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
