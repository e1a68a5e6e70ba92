"""Training from WebDataset shards sees what training from the imagefolder sees."""

import json

import pytest

from ablate2tune import files
from ablate2tune.models import load_denoiser
from ablate2tune.scenes.dataset.export import write_webdataset
from ablate2tune.scenes.dataset.records import COLUMNS, read_dataset
from ablate2tune.train import train


@pytest.fixture
def shards(tmp_path, make_records):
    """Six training groups and one test group, five scenes to a shard."""
    folder = tmp_path / "set"
    records = make_records(folder, 6) + make_records(folder, 1, split="test")
    for name in ("masks", "depth", "sidecars"):
        (folder / name).mkdir()
    rows = [{column: getattr(record, column) for column in COLUMNS} for record in records]
    files.write_jsonl(folder / "metadata.jsonl", rows)
    for record, row in zip(records, rows, strict=True):
        for path in (record.mask_path, record.depth_path):
            path.write_bytes(record.image_path.read_bytes())
        record.sidecar_path.write_text(json.dumps({"record": row}))
    return folder, write_webdataset(read_dataset(folder), tmp_path / "shards", per_shard=5)


def test_the_first_step_has_the_same_loss(shards, tiny_flux_config, config, tmp_path):
    assert len(list(shards[1].iterdir())) == 4
    short = config.model_copy(update={"steps": 2, "checkpoint_every": 2})
    losses = []
    for folder in shards:
        out = tmp_path / f"run-{folder.name}"
        train(
            load_denoiser(tiny_flux_config), read_dataset(folder),
            ["transformer_blocks.1.attn.to_q"], short, 3, out, sample_steps=1,
        )  # fmt: skip
        losses.append([row["loss"] for row in files.read_jsonl(out / "log.jsonl") if "loss" in row])
    assert losses[0] == losses[1] and len(losses[0]) >= 1
