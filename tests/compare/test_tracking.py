import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import wandb
from PIL import Image
from wandb.proto import wandb_internal_pb2 as records

from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.compare.tracking import logged_in, track

INTERVAL = {"value": 0.5, "low": 0.1, "high": 0.9, "n": 2}
SIDES = ("before", "after")


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
def results(tmp_path) -> Path:
    """A finished comparison of two prompts, written by hand."""
    folder = tmp_path / "compare"
    rows = []
    for arm in ("before", "after"):
        (folder / "images" / arm).mkdir(parents=True)
        for index, prompt in enumerate(
            ("a red ball left of a blue cube", "a red ball and a blue cube")
        ):
            path = f"images/{arm}/{index}.png"
            shade = 40 * index + (100 if arm == "after" else 0)
            Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(folder / path)
            verdict = {
                "objects": True, "spatial": arm == "after" if index == 0 else None,
                "relation_read": "left of" if arm == "after" else "right of",
            }  # fmt: skip
            relation = "left of" if index == 0 else None
            rows.append({
                "arm": arm, "prompt": prompt, "relation": relation, "seed": 7 + index,
                "image": path, "verdict": verdict,
            })  # fmt: skip
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = {arm: {"spatial": INTERVAL} for arm in ("before", "after", "difference")}
    (folder / "scores.json").write_text(json.dumps({**scores, "judge": {"kind": "testbed"}}))
    Image.fromarray(np.full((30, 20, 3), 9, np.uint8)).save(folder / "grid.png")
    return folder


def read_wandb(path: Path) -> list:
    """Records of a .wandb file: LevelDB's log format (32 KiB blocks) after a 7-byte header."""
    data, parts, found, at = path.read_bytes(), b"", [], 7
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            record = records.Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def shade(path: Path) -> int:
    with Image.open(path) as picture:
        red, green, blue = picture.getpixel((0, 0))
    assert red == green == blue
    return red


def items(listed) -> dict:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in listed}


def test_offline_run_holds_grid_table_scores_and_recipe(results):
    result = track(results, CompareConfig(), {"name": "demo", "train": {"rank": 4}})
    assert result.mode == "offline", result.line
    assert result.folder is not None and results in result.folder.parents
    assert result.line == f"W&B, offline: wandb sync {result.folder}"
    (log,) = result.folder.glob("*.wandb")
    logged = read_wandb(log)
    deadline = time.monotonic() + 60  # W&B's own process may still be writing on a busy machine
    while not any(r.HasField("history") for r in logged) and time.monotonic() < deadline:
        time.sleep(0.5)
        logged = read_wandb(log)

    (history,) = [items(r.history.item) for r in logged if r.HasField("history")]
    files = result.folder / "files"
    assert history["grid._type"] == "image-file"
    with Image.open(files / history["grid.path"]) as grid:
        assert grid.size == (20, 30)

    assert history["pictures._type"] == "table-file" and history["pictures.nrows"] == 2
    (artifact,) = [r.artifact for r in logged if r.HasField("artifact")]
    staged = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert all(results in path.parents for path in staged.values()), "nothing outside the run"
    table = json.loads(staged["pictures.table.json"].read_text())
    first, second = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert first["prompt"] == "a red ball left of a blue cube" and first["relation"] == "left of"
    assert second["prompt"] == "a red ball and a blue cube" and second["relation"] is None
    assert (first["seed"], second["seed"]) == (7, 8)
    assert (first["right before"], first["right after"]) == (False, True)
    assert (first["read before"], first["read after"]) == ("right of", "left of")
    shades = [shade(staged[row[side]["path"]]) for row in (first, second) for side in SIDES]
    assert shades == [0, 100, 40, 140]

    summary = {}
    for record in logged:
        if record.HasField("summary"):
            summary |= items(record.summary.update)
    assert summary["after"] == summary["difference"] == {"spatial": INTERVAL}
    (run,) = [r.run for r in logged if r.HasField("run")]
    assert run.project == "ablate2tune"
    assert items(run.config.update)["train"] == {"rank": 4}


def test_an_unjudged_comparison_has_pictures_and_no_verdict_columns(results):
    rows = [json.loads(line) for line in (results / "verdicts.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({**row, "verdict": None}) + "\n" for row in rows)
    (results / "verdicts.jsonl").write_text(text)
    (results / "scores.json").unlink()
    result = track(results, CompareConfig(), {})
    assert result.mode == "offline" and result.folder is not None, result.line
    (table,) = (result.folder / "files").rglob("*.table.json")
    held = json.loads(table.read_text())
    assert held["columns"] == ["prompt", "relation", "seed", "before", "after"]
    assert [row[0] for row in held["data"]] == [row["prompt"] for row in rows[:2]]
    assert list((result.folder / "files").rglob("grid*.png"))


def test_off_leaves_nothing(results, monkeypatch):
    assert track(results, CompareConfig(wandb="off"), {}).mode == "off"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert track(results, CompareConfig(), {}).mode == "off"
    assert not (results / "wandb").exists()


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


def test_a_failure_is_one_line(results, monkeypatch):
    def fail(**_):
        raise RuntimeError("the service\nis gone")

    monkeypatch.setattr(wandb, "init", fail)
    result = track(results, CompareConfig(), {})
    assert result.mode == "failed" and result.line is not None
    assert result.line.startswith("warning: W&B tracking failed (the service is gone)")
    assert "\n" not in result.line


def test_an_unreachable_server_leaves_an_offline_run(results, monkeypatch):
    real = wandb.init

    def unreachable(**options):
        if options["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return real(**options)

    monkeypatch.setattr(wandb, "init", unreachable)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    result = track(results, CompareConfig(), {})
    assert result.mode == "offline" and result.line is not None
    assert "could not be reached (no route to host)" in result.line
    assert f"wandb sync {result.folder}" in result.line


def test_a_missing_file_is_a_failure_too(tmp_path):
    result = track(tmp_path, CompareConfig(), {})
    assert result.mode == "failed" and "scores.json" in str(result.line)
