"""A step that is taken in parts, and a taught run: the same weights as in one piece."""

from pathlib import Path

import pytest
import torch
from tiny_runs import TARGETS, KilledError, assert_same_run, rows_of, weights_of

from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train import TrainSummary, train
from ablate2tune.train.course import judged
from ablate2tune.train.train_config import TrainConfig


def test_a_step_that_does_not_fit_is_taken_in_parts(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, whole_run,
    tmp_path: Path, monkeypatch,
):  # fmt: skip
    loss, sizes = tiny_flux.denoising_loss, []

    def small(latents, *rest):
        if torch.is_grad_enabled() and len(latents) > 1:
            sizes.append(len(latents))
            loss(latents[:1], *(x[:1] for x in rest[:3]), rest[3]).sum().backward()
            raise torch.OutOfMemoryError
        return loss(latents, *rest)

    monkeypatch.setattr(tiny_flux, "denoising_loss", small)
    train(tiny_flux, records, TARGETS, config, 3, tmp_path, sample_steps=1)
    # Looked at once with four; then once for four rows and once for two, and not tried again in
    # later steps.
    assert sizes == [4, 4, 2]
    for name, weight in weights_of(whole_run.folder).items():
        torch.testing.assert_close(weights_of(tmp_path)[name], weight, rtol=0, atol=1e-6)


def test_a_micro_batch_ends_at_the_same_weights_and_counts_in_the_memory(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, whole_run,
    tmp_path: Path, monkeypatch,
):  # fmt: skip
    loss, sizes, lines = tiny_flux.denoising_loss, [], []

    def spy(latents, noise, *rest):
        if torch.is_grad_enabled() and noise.any():  # no look at what it needs
            sizes.append(len(latents))
        return loss(latents, noise, *rest)

    monkeypatch.setattr(tiny_flux, "denoising_loss", spy)
    config = config.model_copy(update={"micro_batch": 3})
    train(tiny_flux, records, TARGETS, config, 3, tmp_path, sample_steps=1, on_message=lines.append)
    assert sizes == [3, 1] * 6
    assert "activations 3 x" in next(line for line in lines if line.startswith("memory: "))
    for name, weight in weights_of(whole_run.folder).items():
        torch.testing.assert_close(weights_of(tmp_path)[name], weight, rtol=0, atol=1e-6)


def test_a_taught_run_resumes_and_halves(
    tiny_flux_config: ModelConfig, records: list[SceneRecord], config: TrainConfig, tmp_path: Path,
    monkeypatch,
):  # fmt: skip
    taught = {"contrast": 4.0, "high_noise": 0.6, "retention": 0.5}
    config = config.model_copy(update=taught)
    small = False

    def again(folder: Path, **options) -> TrainSummary:
        denoiser = load_denoiser(tiny_flux_config)
        loss = denoiser.denoising_loss

        def measured(latents, *rest, **kept):
            if small and torch.is_grad_enabled() and len(latents) > 2:
                raise torch.OutOfMemoryError
            return loss(latents, *rest, **kept)

        monkeypatch.setattr(denoiser, "denoising_loss", measured)
        return train(denoiser, records, TARGETS, config, 3, folder, sample_steps=1, **options)

    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise KilledError

    whole = again(tmp_path / "whole")
    rows = rows_of(tmp_path / "whole")
    assert set(rows[0]["validation"]["margins"]) == {"left of", "right of"}
    # The untouched adapter predicts what the base does, and is judged by the margin.
    assert rows[0]["validation"]["retention"] == 0.0 and rows[6]["validation"]["retention"] > 0
    best = min((3, 6), key=lambda step: judged(rows[step]["validation"]))
    assert whole.course.by_margin and whole.course.best.step == best

    with pytest.raises(KilledError):
        again(tmp_path / "killed", on_progress=stop)
    assert again(tmp_path / "killed").resumed_from == 2
    assert_same_run(tmp_path / "killed", tmp_path / "whole")

    small = True
    again(tmp_path / "parts")
    for name, weight in weights_of(tmp_path / "whole").items():
        torch.testing.assert_close(weights_of(tmp_path / "parts")[name], weight, rtol=0, atol=1e-5)
