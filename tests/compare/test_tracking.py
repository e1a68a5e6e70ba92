import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wandb
from PIL import Image
from showing import shown
from wandb_files import items, records_of

from ablate2tune.compare.scores import Scores, score
from ablate2tune.compare.shown import Shown, write_shown
from ablate2tune.compare.tracking import track
from ablate2tune.files import write_json, write_jsonl
from ablate2tune.statistics.resampling import Resampling
from ablate2tune.tracking.wandb_run import Labels, logged_in, tracking_mode

LABELS = Labels("ablate2tune", "demo-seed3", "demo", ["testbed", "t" * 80], {"train": {"rank": 4}})


@pytest.fixture(autouse=True)
def not_logged_in(monkeypatch, tmp_path):
    for name in (
        "WANDB_API_KEY",
        "WANDB_IDENTITY_TOKEN_FILE",
        "WANDB_MODE",
        "WANDB_DIR",
        "WANDB_DATA_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """A run directory with a finished training and a comparison of two prompts, by hand."""
    folder = tmp_path / "runs" / "demo"
    arms: dict[str, list[Shown]] = {}
    for arm, read in (("before", "right of"), ("after", "left of")):
        (folder / "compare" / "images" / arm).mkdir(parents=True)
        for index, asked in enumerate(("left of", None)):
            path = folder / "compare" / "images" / arm / f"{index}.png"
            shade = 40 * index + (100 if arm == "after" else 0)
            Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path)
            arms.setdefault(arm, []).append(shown(asked, read, index=index, path=path))
    write_shown(folder / "compare", arms)
    figures, gaps = score(arms, "before", Resampling(0, 20, 0.95))
    scores = Scores("before", figures, gaps, {"kind": "trained"}, 1, 1, 1, 1, 0.95)
    write_json(folder / "compare" / "scores.json", scores.as_dict())
    Image.fromarray(np.full((30, 20, 3), 9, np.uint8)).save(folder / "compare" / "grid.png")
    (folder / "train" / "samples").mkdir(parents=True)
    rows = [
        {
            "step": 0,
            "loss": None,
            "validation": {"as_trained": 0.5, "by_sigma": {"0.9": 0.75}},
            "lr": 0.0,
        },
        {"step": 1, "loss": 0.25, "lr": 0.1},
        {"step": 2, "loss": 0.125, "validation": {"as_trained": 0.375}, "lr": 0.1},
    ]
    write_jsonl(folder / "train" / "log.jsonl", rows)
    for step in (0, 2):
        grid = Image.fromarray(np.full((5, 6, 3), step, np.uint8))
        grid.save(folder / "train" / "samples" / f"step-{step:06d}.png")
    return folder


def tracked(run_folder: Path, labels: Labels = LABELS, mode="offline"):
    return track(run_folder / "compare", run_folder / "train", labels, mode)


def table(files: Path, told: dict, key: str) -> list[dict]:
    assert told[f"{key}._type"] == "table-file"
    held = json.loads((files / told[f"{key}.path"]).read_text())
    return [dict(zip(held["columns"], row, strict=True)) for row in held["data"]]


def test_an_offline_run_holds_everything_and_may_be_moved(run_folder, tmp_path, capfd):
    result = tracked(run_folder)
    assert result.mode == "offline", result.line
    assert result.folder is not None and run_folder in result.folder.parents
    assert result.line == f"W&B, offline: wandb sync {result.folder}"
    assert "URL" not in capfd.readouterr().err, "W&B's own warning"
    records_of(result.folder, rows=9)
    moved = tmp_path / "elsewhere"
    shutil.move(run_folder, moved)
    run = moved / result.folder.relative_to(run_folder)
    logged = records_of(run, rows=9)
    files = run / "files"
    assert not any(r.HasField("artifact") for r in logged), "staged by absolute paths"

    (started,) = [r.run for r in logged if r.HasField("run")]
    assert (started.project, started.display_name) == ("ablate2tune", "demo-seed3")
    assert (started.run_group, started.job_type) == ("demo", "compare")
    assert list(started.tags) == ["testbed", "t" * 64], "tags have 64 characters at most"
    assert items(started.config.update)["train"] == {"rank": 4}

    history = [items(r.history.item) for r in logged if r.HasField("history")]
    curve = [row for row in history if "train/step" in row]
    assert [row["train/step"] for row in curve] == [0, 1, 2]
    assert [row.get("train/loss") for row in curve] == [None, 0.25, 0.125]
    assert [row.get("train/validation") for row in curve] == [0.5, None, 0.375]
    assert curve[0]["train/validation at 0.9"] == 0.75
    samples = [row for row in curve if "train/samples.path" in row]
    assert [row["train/samples.caption"] for row in samples] == ["step 0", "step 2"]
    defined = [r.metric for r in logged if r.HasField("metric")]
    assert [one.step_metric for one in defined if one.glob_name == "train/*"] == ["train/step"]

    told = {key: value for row in history for key, value in row.items()}
    for key in [key for key in told if key.endswith("path")]:
        assert (files / told[key]).exists(), key
    with Image.open(files / told["grid.path"]) as grid:
        assert grid.size == (20, 30)
    assert told["pictures/left of.captions"] == [
        "a red ball left of a blue cube (seed 7) | before ✗ right of | after ✓ left of"
    ]
    (name,) = told["pictures/left of.filenames"]
    with Image.open(files / name) as pair:
        assert pair.size == (16, 8)
        assert [pair.getpixel((x, 0))[0] for x in (0, 15)] == [0, 100], "before, after"
    assert len(told["pictures/no relation.filenames"]) == 1

    first, second = table(files, told, "prompts")
    assert first["prompt"] == "a red ball left of a blue cube" and first["relation"] == "left of"
    assert (first["before: right"], first["after: right"]) == (False, True)
    assert (first["before: read"], first["after: read"]) == ("right of", "left of")
    assert second["relation"] is None and second["seed"] == 8
    figures = table(files, told, "figures")
    (row,) = [r for r in figures if (r["figure"], r["arm"], r["relation"]) ==
              ("direction, given kind", "after", "left of")]  # fmt: skip
    assert (row["value"], row["difference"]) == (1.0, 1.0)
    assert table(files, told, "drawn")[0]["opposite"] == 1

    summary = {}
    for record in logged:
        if record.HasField("summary"):
            summary |= items(record.summary.update)
    assert summary["arms"]["after"]["spatial"]["value"] == 1.0
    assert summary["difference"]["after"]["direction_given_kind"]["value"] == 1.0


def test_an_unjudged_comparison_has_pictures_and_no_verdicts(run_folder):
    from ablate2tune.compare.shown import read_shown

    folder = run_folder / "compare"
    unread = {
        arm: [replace(one, verdict=None, detections=None) for one in pictures]
        for arm, pictures in read_shown(folder).items()
    }
    write_shown(folder, unread)
    (folder / "scores.json").unlink()
    result = track(folder, None, LABELS, "offline")
    assert result.mode == "offline" and result.folder is not None, result.line
    (held,) = (result.folder / "files").rglob("*.table.json")
    assert json.loads(held.read_text())["columns"] == ["prompt", "relation", "seed"]
    assert list((result.folder / "files").rglob("grid*.png"))


def test_off_leaves_nothing(run_folder):
    assert tracked(run_folder, mode="off").mode == "off"
    assert not (run_folder / "compare" / "wandb").exists()


def test_how_a_run_is_tracked(monkeypatch):
    assert [tracking_mode(x) for x in ("auto", "offline", "off")] == ["offline", "offline", "off"]
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert [tracking_mode(x) for x in ("auto", "offline", "off")] == ["online", "offline", "off"]
    for value, mode in (("offline", "offline"), ("dryrun", "offline"), ("disabled", "off")):
        monkeypatch.setenv("WANDB_MODE", value)
        assert tracking_mode("auto") == mode


def test_credentials_are_found_without_asking(tmp_path, monkeypatch):
    assert not logged_in()
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'0' * 40}\n")
    assert logged_in()
    (tmp_path / "netrc").write_text(f"machine elsewhere.org login user password {'0' * 40}\n")
    assert not logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    assert not logged_in()


def test_a_failure_is_one_line(run_folder, monkeypatch):
    def fail(**_):
        raise RuntimeError("the service\nis gone")

    monkeypatch.setattr(wandb, "init", fail)
    result = tracked(run_folder)
    assert result.mode == "failed" and result.line is not None
    assert result.line.startswith("warning: W&B tracking failed (") and "is gone" in result.line
    assert "\n" not in result.line and "tries again" in result.line


def test_a_project_name_that_is_refused_is_a_failure(run_folder):
    result = tracked(run_folder, LABELS._replace(project="a/b"))
    assert result.mode == "failed" and "a/b" in str(result.line)


def test_an_unreachable_server_leaves_an_offline_run(run_folder, monkeypatch):
    real = wandb.init

    def unreachable(**options):
        if options["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return real(**options)

    monkeypatch.setattr(wandb, "init", unreachable)
    result = tracked(run_folder, mode="online")
    assert result.mode == "offline" and result.line is not None
    assert "could not be reached" in result.line and "no route to host" in result.line
    assert f"wandb sync {result.folder}" in result.line


def test_a_missing_file_is_a_failure_too(run_folder):
    (run_folder / "compare" / "grid.png").unlink()
    assert tracked(run_folder).mode == "failed"
