import numpy as np
import pytest
import torch

from ablate2tune.errors import UserError
from ablate2tune.models.out_of_memory import within_memory


def limited(most: int, tried: list[int]):
    def work(rows: int) -> list[int]:
        tried.append(rows)
        if rows > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [rows]

    return work


def test_halves_until_it_fits() -> None:
    tried: list[int] = []
    assert within_memory(limited(3, tried), 13, "localize") == [3]
    assert tried == [13, 6, 3]


def test_a_single_row_that_does_not_fit_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^train: out of memory with a single row; use a smaller"):
        within_memory(limited(0, []), 4, "train")


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError):
        within_memory(lambda rows: rows // 0, 4, "train")


def test_no_row_is_lost_where_the_second_part_of_a_batch_does_not_fit(
    tiny_flux, monkeypatch
) -> None:
    """The first part fits, the second does not: all rows are there, in their order."""
    from ablate2tune.localize.margins.caption_losses import Batch
    from ablate2tune.localize.measuring.engine import BASELINE, Engine

    told = tiny_flux.encode_prompts(["a red ball"] * 8)
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(8, 16, 16, generator=generator) for _ in range(2))
    batch = Batch(latents, noise, 0.5, 0, told)
    expected = Engine(tiny_flux, 8).losses(batch, [BASELINE])[BASELINE]
    whole, calls = tiny_flux.predict, []

    def second_fails(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(*args, **kwargs)

    monkeypatch.setattr(tiny_flux, "predict", second_fails)
    engine = Engine(tiny_flux, 4)
    found = engine.losses(batch, [BASELINE])[BASELINE]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert engine.halvings == 1


def test_where_others_wait_no_fewer_are_tried() -> None:
    tried = []

    def work(rows: int) -> None:
        tried.append(rows)
        raise torch.OutOfMemoryError

    with pytest.raises(UserError, match="train: out of memory with 8 rows at once; set fewer"):
        within_memory(work, 8, "train", "set fewer", again=False)
    assert tried == [8]
