"""A small study of a tiny FLUX on a rendered-like set of noise."""

from pathlib import Path

import pytest
import yaml

from ablate2tune import files
from ablate2tune.scenes.dataset.records import COLUMNS, SceneRecord


@pytest.fixture
def study_recipe(tiny_flux_folder: Path, make_records, tmp_path: Path) -> Path:
    """Two arms, two seeds, two steps a cell; the margins of noise are noise."""
    scenes = tmp_path / "scenes"
    rows: list[dict] = []
    for split, groups in (("train", 8), ("test", 3)):
        records: list[SceneRecord] = make_records(groups, 32, split)
        for record in records:
            name = f"{split}-{record.file_name}"
            (scenes / name).parent.mkdir(parents=True, exist_ok=True)
            (scenes / name).write_bytes((record.folder / record.file_name).read_bytes())
            row = {column: getattr(record, column) for column in COLUMNS}
            own = {"file_name": name, "scene_id": f"{split}-{record.scene_id}",
                   "group_id": f"{split}-{record.group_id}"}  # fmt: skip
            rows.append({**row, **own})
    files.write_jsonl(scenes / "metadata.jsonl", rows)
    values = {
        "name": "job",
        "runs": str(tmp_path / "runs"),
        "model": {"path": str(tiny_flux_folder), "device": "cpu", "height": 32, "width": 32,
                  "max_sequence_length": 16},
        "scenes": {"folder": str(scenes)},
        "localize": {"groups": 4, "calibration_groups": 2, "rank_by": "gradient",
                     "top_blocks": 1, "batch_size": 12, "bootstrap": 100},
        "compare": {"steps": 1},
        "train": {"rank": 2, "steps": 2, "batch_size": 2, "warmup": 0, "learning_rate": 0.01,
                  "validation_images": 2, "validate_every": 2, "checkpoint_every": 1,
                  "count": 2},
        "study": {"seeds": [1, 2], "arms": {"random": {"targets": "random", "draws": 2},
                                            "all": {"targets": "all", "equal_parameters": True}},
                  "guided": "random"},
    }  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
