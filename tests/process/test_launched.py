"""`accelerate launch --cpu --num_processes 2` starts one process; that is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ablate2tune
from ablate2tune.errors import UserError
from ablate2tune.process.launched import check_launcher, divided_among, missing_processes

ROOT = Path(ablate2tune.__file__).parents[1]
CODE = "from ablate2tune.process.launched import missing_processes; print(missing_processes())"


@pytest.mark.parametrize(
    "words, count",
    [
        (["--cpu", "--num_processes", "2"], "2"),
        (["--cpu", "--num_processes=3"], "3"),
        (["--num-processes", "4", "--cpu"], "4"),
        (["--cpu", "--num_processes", "1"], None),
        (["--cpu"], None),
    ],
)
def test_what_was_asked_for(words: list[str], count: str | None, monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    told = missing_processes(["python", "accelerate", "launch", *words, "-m", "ablate2tune"])
    assert (told is None) == (count is None)
    assert count is None or f"--multi_gpu --num_processes {count} ..." in str(told)


def test_where_all_were_started_nothing_is_said(monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert missing_processes(["accelerate", "launch", "--num_processes", "2"]) is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the launcher's command")
def test_as_a_user_types_it(tmp_path: Path) -> None:
    script = tmp_path / "look.py"
    script.write_text(CODE)
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", str(script)]
    done = subprocess.run(
        [sys.executable, *launch],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("warning: `accelerate launch` was asked for 2 processes and started one")


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["--use_fsdp", "--fsdp_version", "1"], "accelerate launch --fsdp_version 1"),
        (["--use_fsdp", "--fsdp_version", "2"], None),
        ([], None),
    ],
)
def test_a_model_in_pieces_is_served_as_accelerate_asks_for_it(
    words: list[str], refused: str | None, tmp_path: Path
) -> None:
    """Under accelerate's own launcher, whose two processes are to say so."""
    script = tmp_path / "check.py"
    script.write_text(
        "import os\n"
        "from ablate2tune.errors import UserError\n"
        "from ablate2tune.process.launched import check_launcher\n"
        "try:\n    check_launcher(True)\n"
        "except UserError as error:\n    said = f'refused: {error}'\n"
        "else:\n    said = 'served'\n"
        "os.write(1, f'{said}\\n'.encode())\n"  # at once, beside another process
    )
    launch = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += words or ["--multi_gpu"]
    done = subprocess.run(
        [sys.executable, *launch, str(script)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = [line for line in done.stdout.splitlines() if line]
    assert len(told) == 2
    assert all(line.startswith(f"refused: {refused}" if refused else "served") for line in told)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FSDP_VERSION", "1", "--fsdp_version 1"),
        ("FSDP_VERSION", None, "--fsdp_version 1"),
        ("FSDP_OFFLOAD_PARAMS", "true", "--fsdp_offload_params true"),
        ("FSDP_RESHARD_AFTER_FORWARD", "false", "--fsdp_reshard_after_forward false"),
        ("FSDP_SHARDING_STRATEGY", "HYBRID_SHARD", "--fsdp_sharding_strategy hybrid_shard"),
        ("FSDP_SHARDING_STRATEGY", "2", "--fsdp_sharding_strategy 2"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "train.checkpointing says it"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "launch --use_parallelism_config true"),
    ],
)
def test_what_would_be_divided_otherwise_than_asked_is_refused(
    name: str, value: str | None, said: str, monkeypatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_launcher(served=True)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        check_launcher(served=True)


def test_who_does_not_divide_a_model_refuses_to(monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    with pytest.raises(UserError, match="accelerate launch --use_fsdp: the model is not divided"):
        check_launcher()


def test_a_model_is_divided_among_the_processes_that_there_are(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert divided_among() == 1
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert divided_among() == 4
    monkeypatch.delenv("WORLD_SIZE")
    assert divided_among() == 1


@pytest.mark.parametrize("strategy", ["FULL_SHARD", "full_shard", "1"])
def test_the_strategy_that_is_used_may_be_named(strategy: str, monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_SHARDING_STRATEGY", strategy)
    check_launcher(served=True)


@pytest.mark.parametrize("name", ["deepspeed", "megatron_lm"])
@pytest.mark.parametrize("served", [True, False])
def test_a_variable_that_says_no_is_no_request(name: str, served: bool, monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    check_launcher(served)
    monkeypatch.setenv(f"ACCELERATE_USE_{name.upper()}", "true")
    with pytest.raises(UserError, match=f"--use_{name}"):
        check_launcher(served)
