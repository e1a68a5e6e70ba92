"""The denoiser's pretraining: it learns, resumes to the same weights, and runs as a CUDA graph."""

from pathlib import Path

import pytest
import torch
from test_parts import record
from tiny_parts import TINY

from ablate2tune.models import FluxDenoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.optimisation import GraphedGradients
from ablate2tune.testbed.pretraining import possible_captions, pretrain_denoiser
from ablate2tune.testbed.testbed_recipe import CaptionMix, PartConfig
from ablate2tune.testbed.text import word_list

RECORDS = [record(), record(relation="on top of", subject="cone")]


def pretrained(work: Path, device: str = "cpu", stop_at: int | None = None) -> torch.Tensor:
    pipe = build_pipeline(word_list(), TINY, seed=0).to(device)
    config = ModelConfig(path="none", height=32, width=32, max_sequence_length=32)
    latents = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))

    def seen(done: int, steps: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    training = PartConfig(steps=6, batch_size=4, learning_rate=1e-3, warmup=2, checkpoint_every=2)
    mixes, high = [CaptionMix()], (0.25, 30.0)
    denoiser = FluxDenoiser(pipe, config)
    pretrain_denoiser(denoiser, latents, RECORDS, mixes, training, 0.9, high, 0, work, seen)
    return torch.cat([p.flatten().cpu() for p in pipe.transformer.parameters()])


def test_resumed_pretraining_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    whole = pretrained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrained(tmp_path / "cut", stop_at=5)
    assert torch.equal(pretrained(tmp_path / "cut"), whole)
    untrained = build_pipeline(word_list(), TINY, seed=0).transformer
    assert not torch.equal(torch.cat([p.flatten() for p in untrained.parameters()]), whole)


def test_every_caption_that_may_be_drawn_is_known() -> None:
    """Six relations and both orders of "and" for each pair, and the empty caption."""
    said = possible_captions(RECORDS)
    assert len(said) == 1 + 2 * 8
    assert {"", "a red ball left of a blue cube", "a blue cube and a red cone"} <= set(said)


@pytest.mark.gpu
def test_a_graph_gives_what_eager_computation_gives() -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1).cuda()
    parameters = list(module.parameters())
    graphed = GraphedGradients(lambda x: module(x).square().mean(), parameters)
    for _ in range(3):
        inputs = torch.randn(5, 3).pin_memory()
        loss = graphed(inputs)
        expected = module(inputs.cuda()).square().mean()
        assert torch.allclose(loss, expected)
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(expected, parameters), strict=True
        ):
            assert torch.allclose(parameter.grad, gradient)


@pytest.mark.gpu
def test_pretraining_on_the_card_agrees_with_the_cpu(tmp_path: Path) -> None:
    here, there = (pretrained(tmp_path / device, device) for device in ("cpu", "cuda"))
    assert torch.allclose(here, there, atol=2e-3), (here - there).abs().max()
