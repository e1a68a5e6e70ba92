"""Shared fixtures: a tiny random FLUX pipeline saved to disk, loaded as a user would; a Blender
to render with; and a small hand-made data set, pictures of noise with a rendered one's rows."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_parts import TINY
from transformers import AutoTokenizer, CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.rendering.blender import find_blender
from ablate2tune.scenes.vocabulary import COLOURS, KINDS, OPPOSITE, RELATIONS, caption
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.text import word_list


def pytest_configure() -> None:
    """Every process of a test takes the same number of threads, whatever else the machine does.

    Under `pytest -n N` every worker, and what it starts, keeps to its share of the cores.
    """
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        threads = max(1, (os.cpu_count() or 1) // int(workers))
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))


@pytest.fixture(scope="session")
def blender() -> None:
    """Needs any Blender: the bpy wheel, the environment variable or the PATH."""
    try:
        find_blender(None)
    except UserError as error:
        pytest.skip(f"no Blender on this machine: {error}")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is remembered of files stays out of the user's home, in subprocesses as well."""
    os.environ["ABLATE2TUNE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_flux_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random FLUX pipeline directory (2 double and 2 single blocks, 32 px)."""
    folder = tmp_path_factory.mktemp("tiny-flux")
    build_pipeline(word_list(), TINY, seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_flux_config(tiny_flux_folder: Path) -> ModelConfig:
    return ModelConfig(
        path=str(tiny_flux_folder), device="cpu", height=32, width=32, max_sequence_length=16
    )


@pytest.fixture
def tiny_flux(tiny_flux_config: ModelConfig) -> FluxDenoiser:
    """A freshly loaded tiny pipeline behind the FLUX adapter."""
    return load_denoiser(tiny_flux_config)


@pytest.fixture(scope="session")
def make_records(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[SceneRecord]]:
    """Makes a data set of that many groups in a folder of its own."""

    def make(groups: int, size: int = 32, split: str = "train") -> list[SceneRecord]:
        return _records(tmp_path_factory.mktemp("data"), groups, size, split)

    return make


@pytest.fixture(scope="session")
def make_contrasts(make_records: Callable[..., list[SceneRecord]]) -> Callable[..., list[Contrast]]:
    """Makes the contrasts of such a data set."""
    return lambda *args, **kwargs: list(scene_contrasts(make_records(*args, **kwargs)).examples)


def _records(folder: Path, groups: int, size: int, split: str) -> list[SceneRecord]:
    """Two twins per group, opposite relations, pictures of seeded noise."""
    rng = np.random.default_rng(5)
    records = []
    for group in range(groups):
        c1, c2, wrong = rng.permutation(COLOURS)[:3]
        k1, k2 = rng.choice(KINDS, 2)
        other = next(kind for kind in KINDS if kind not in (k1, k2))
        first = RELATIONS[(group * 2) % len(RELATIONS)]
        for twin, relation in enumerate((first, OPPOSITE[first])):
            name = f"{group:04d}-{twin}"
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
            records.append(
                SceneRecord(
                    file_name=f"{name}.png",
                    text=caption(c1, k1, relation, c2, k2),
                    relation=relation,
                    subject=str(k1),
                    subject_colour=str(c1),
                    object=str(k2),
                    object_colour=str(c2),
                    foil=caption(c1, k1, OPPOSITE[relation], c2, k2),
                    foil_colour=caption(wrong, k1, relation, c2, k2),
                    foil_object=caption(c1, other, relation, c2, k2),
                    pair_text=caption(c1, k1, None, c2, k2),
                    scene_id=name,
                    group_id=f"{group:04d}",
                    seed=group,
                    split=split,
                    folder=folder,
                )
            )
    return records


@pytest.fixture(scope="session")
def tiny_clip_folder(tiny_flux_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIPModel of 16 px with a tokenizer beside it."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    words = AutoTokenizer.from_pretrained(tiny_flux_folder / "tokenizer")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    torch.manual_seed(2)
    text = CLIPTextConfig(
        **small, vocab_size=len(words), max_position_embeddings=20,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )  # fmt: skip
    vision = CLIPVisionConfig(**small, image_size=16, patch_size=4)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=6
    )
    CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes a folder of that many pictures of noise, of two sizes, with captions."""

    def make(count: int) -> Path:
        folder = tmp_path_factory.mktemp("pairs")
        rng, rows = np.random.default_rng(8), []
        for number in range(count):
            pixels = rng.integers(0, 256, (40 + 4 * (number % 2), 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03d}.png")
            caption = f"a {COLOURS[number % len(COLOURS)]} {KINDS[number % len(KINDS)]}"
            rows.append({"file_name": f"{number:03d}.png", "text": caption})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
        return folder

    return make
