from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from wandb_files import items, records_of

from ablate2tune.tracking import training_run
from ablate2tune.tracking.training_run import TrainingRun, live_mode
from ablate2tune.tracking.wandb_run import Labels

LABELS = Labels("ablate2tune", "demo-seed3-train", "demo", ["testbed"], {"train": {"rank": 4}})
ROWS = [
    {"step": 0, "loss": None, "validation": {"as_trained": 0.5, "by_sigma": {"0.9": 0.75}},
     "lr": 0.0},
    {"step": 1, "loss": 0.25, "lr": 0.1},
    {"step": 2, "loss": 0.125, "validation": {"as_trained": 0.4, "margin": 0.2, "retention": 0.1},
     "lr": 0.1},
]  # fmt: skip


@pytest.fixture(autouse=True)
def not_logged_in(monkeypatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def test_rows_and_samples_are_there_before_the_end(tmp_path: Path) -> None:
    grid = tmp_path / "step-000000.png"
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(grid)
    run = TrainingRun(tmp_path, LABELS, "offline")
    for row in ROWS:
        run.log(row, grid if row["step"] == 0 else None)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    logged = records_of(folder, rows=2)  # the last one is held until the end
    history = [items(r.history.item) for r in logged if r.HasField("history")]
    assert [row["train/step"] for row in history[:2]] == [0, 1]
    assert history[0]["train/validation"] == 0.5 and history[1]["train/loss"] == 0.25
    assert (folder / "files" / history[0]["train/samples.path"]).exists()
    assert run.finish(tmp_path / "adapter") == f"W&B, offline: wandb sync {folder}"
    (last,) = [items(r.history.item) for r in records_of(folder, rows=3) if r.HasField("history")][
        2:
    ]
    assert (last["train/margin"], last["train/retention"]) == (0.2, 0.1)
    assert run.finish(None) is None


class Fake:
    """A run that remembers, or fails."""

    id = "abc"

    def __init__(self, fails: bool = False):
        self.logged: list[dict[str, Any]] = []
        self.fails = fails

    def define_metric(self, *_: Any, **__: Any) -> None: ...

    def log(self, values: dict[str, Any]) -> None:
        if self.fails:
            raise RuntimeError("the service\nis gone")
        self.logged.append(values)


def test_a_training_that_is_gone_on_with_goes_on_in_its_run(tmp_path: Path, monkeypatch) -> None:
    asked = []

    def start(*_: Any, **more: Any) -> tuple[Fake, str]:
        asked.append(more["id"])
        return Fake(), ""

    monkeypatch.setattr(training_run, "start_run", start)
    for rows in (ROWS[:1], ROWS[1:2], ROWS[2:], ROWS[:1]):
        run = TrainingRun(tmp_path, LABELS, "online")
        for row in rows:
            run.log(row, None)
    assert asked[0] == asked[1] == asked[2] != asked[3]


def test_a_failure_is_told_once_and_training_goes_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training_run, "start_run", lambda *_, **__: (Fake(fails=True), ""))
    run = TrainingRun(tmp_path, LABELS, "online")
    for row in ROWS:
        run.log(row, None)
    line = run.finish(None)
    assert line is not None and line.startswith("warning: W&B tracking failed (")
    assert "\n" not in line


def test_who_is_watched(monkeypatch) -> None:
    assert [live_mode(x) for x in ("auto", "offline", "off")] == ["off", "offline", "off"]
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert [live_mode(x) for x in ("auto", "offline", "off")] == ["online", "offline", "off"]


def test_off_begins_nothing(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, LABELS, "off")
    run.log(ROWS[0], None)
    assert run.finish(tmp_path) is None and not list(tmp_path.iterdir())
