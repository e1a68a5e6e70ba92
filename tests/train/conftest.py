"""A small data set on disk; each picture is noise of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import TARGETS, Whole

from ablate2tune import files
from ablate2tune.models import load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import COLUMNS, SceneRecord, read_dataset
from ablate2tune.train import train
from ablate2tune.train.train_config import TrainConfig

RELATIONS = ("left of", "right of")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")


def _make_records(folder: Path, groups: int, split: str = "train") -> list[SceneRecord]:
    """Twins of `groups` groups, picture number 2 * group + twin seeded with it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    records = []
    for group in range(groups):
        colour, other = COLOURS[group % 8], COLOURS[(group + 1 + group // 8) % 8]
        for twin, relation in enumerate(RELATIONS):
            scene = f"{split}{group:03d}-{twin}"
            rng = np.random.default_rng(2 * group + twin)
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{scene}.png")
            records.append(
                SceneRecord(
                    file_name=f"images/{scene}.png",
                    text=f"a {colour} ball {relation} a {other} cube",
                    relation=relation,
                    subject="ball",
                    subject_colour=colour,
                    object="cube",
                    object_colour=other,
                    foil=f"a {colour} ball {RELATIONS[1 - twin]} a {other} cube",
                    foil_colour=f"a {other} ball {relation} a {other} cube",
                    foil_object=f"a {colour} cone {relation} a {other} cube",
                    pair_text=f"a {colour} ball and a {other} cube",
                    scene_id=scene,
                    group_id=f"{split}{group:03d}",
                    seed=group,
                    split=split,
                    folder=folder,
                )
            )
    return records


SHORT = TrainConfig(
    rank=2,
    steps=6,
    batch_size=4,
    learning_rate=0.01,
    warmup=1,
    caption_dropout=0.1,
    validate_every=3,
    validation_images=4,
    sample_every=4,
    sample_prompts=2,
    checkpoint_every=2,
)
"""Seconds of training: 6 steps, a checkpoint every 2."""


@pytest.fixture(scope="session")
def make_records() -> Callable[..., list[SceneRecord]]:
    return _make_records


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six training groups and one test group."""
    folder = tmp_path_factory.mktemp("scenes")
    records = _make_records(folder, 6) + _make_records(folder, 1, split="test")
    rows = [{column: getattr(record, column) for column in COLUMNS} for record in records]
    files.write_jsonl(folder / "metadata.jsonl", rows)
    return folder


@pytest.fixture(scope="session")
def records(scenes_folder: Path) -> list[SceneRecord]:
    return read_dataset(scenes_folder)


@pytest.fixture
def config() -> TrainConfig:
    return SHORT.model_copy()


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, tiny_flux_config: ModelConfig, records: list[SceneRecord]):
    folder = tmp_path_factory.mktemp("whole")
    config = SHORT
    denoiser, lines, notes, steps = load_denoiser(tiny_flux_config), [], [], []

    def seen(done: int, total: int, note: str) -> None:
        assert not torch.backends.cuda.cudnn_sdp_enabled()  # see models.calls.attention_kernels
        notes.append((done, total, note))

    summary = train(
        denoiser,
        records,
        TARGETS,
        config,
        3,
        folder,
        ranking_rows=[{"address": TARGETS[0], "rank": 1}],
        sample_steps=2,
        on_message=lines.append,
        on_progress=seen,
        on_step=lambda row, shown: steps.append((row["step"], shown and shown.name)),
    )
    return Whole(denoiser, folder, summary, config, lines, notes, steps)
