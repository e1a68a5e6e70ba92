from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from ablate2tune.train.objective.margins import Taught, measure_taught
from ablate2tune.train.validation import HeldOut


class Told:
    """Latents hold the example's number; a caption is a number."""

    def latents(self, examples):
        return torch.tensor(examples).float()[:, None]

    def captions(self, captions):
        return torch.tensor([float(caption) for caption in captions])

    def masks(self, examples):
        return None

    def size_of(self, example):
        return None

    def together(self, examples):
        return [list(range(len(examples)))]


class Denoiser:
    """Loses sigma * (example + caption), and a tenth of that against the base's prediction."""

    device = torch.device("cpu")

    def denoising_loss(self, latents, noise, sigma, conditioning, guidance, kept=None):
        share = torch.where(kept, 0.1, 1.0) if kept is not None else 1.0
        return share * sigma * (latents[:, 0] + conditioning)


def record(relation: str, text: str, foil: str, pair_text: str) -> Any:
    return SimpleNamespace(relation=relation, text=text, foil=foil, pair_text=pair_text)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_margins_and_retention_by_hand(batch_size: int):
    records = [
        record("left of", "1", "4", "10"),
        record("behind", "2", "2.5", "20"),
        record("left of", "3", "4", "30"),
    ]
    one = Accelerator(cpu=True)
    held_out = HeldOut(Denoiser(), Told(), [7, 8, 9], 11, 1.5, batch_size, one)  # type: ignore
    taught = measure_taught(held_out, records)
    # At sigma = 1 the example cancels: left of (3 + 1) / 2, behind 0.5.
    assert taught.margins == pytest.approx({"behind": 0.5, "left of": 2.0})
    # Examples and plain captions are 17, 28 and 39: 28 on average, at levels of 0.75 on average.
    assert taught.retention == pytest.approx(0.1 * 28 * 0.75)


def test_relations_count_alike():
    taught = Taught({"behind": 0.5, "left of": 2.0}, 0.1)
    assert taught.margin == 1.25
    assert taught.row() == {"margin": 1.25, "margins": taught.margins, "retention": 0.1}
