import pytest
import torch
from torch import nn

from ablate2tune.models import load_denoiser
from ablate2tune.train import train
from ablate2tune.train.row_dropout import RowDropout, dropping

TARGETS = ["transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_out"]
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(RowDropout(0.25, "a"), RowDropout(0.25, "b"))


def test_nothing_drops_outside_a_step(model: nn.Sequential) -> None:
    x = torch.ones(2, 3)
    assert model(x) is x
    with dropping(model, [1, 2]):
        assert not torch.equal(model(x), x)
    with dropping(model, []):
        assert model(x) is x


def test_a_quarter_is_dropped_and_the_rest_scaled_up(model: nn.Sequential) -> None:
    x = torch.ones(3, 40, 50)
    with dropping(model, [5, 6, 7]):
        out = model[0](x)
    kept = out != 0
    assert torch.allclose(out[kept], torch.tensor(4 / 3))
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.02)


def test_a_rows_mask_follows_from_its_seed_and_module_alone(model: nn.Sequential) -> None:
    x = torch.ones(2, 64)
    with dropping(model, [5, 6]):
        whole, again, other = model[0](x), model[0](x), model[1](x)
    with dropping(model, [6]):
        second = model[0](x[1:])
    assert torch.equal(whole, again) and torch.equal(whole[1:], second)
    assert not torch.equal(whole[0], whole[1]) and not torch.equal(whole, other)


def test_a_run_that_was_stopped_ends_the_same(tiny_flux_config, records, config, tmp_path) -> None:
    """With its blocks computed again in the backward pass as well."""
    settings = config.model_copy(update={"dropout": 0.3, "contrast": 2.0})

    def again(folder: str, on_progress=None, **more) -> bytes:
        changed = settings.model_copy(update=more)
        arguments = records, TARGETS, changed, 3, tmp_path / folder
        denoiser = load_denoiser(tiny_flux_config)
        train(denoiser, *arguments, sample_steps=1, on_progress=on_progress)
        return (tmp_path / folder / WEIGHTS).read_bytes()

    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    whole = again("whole")
    with pytest.raises(KeyboardInterrupt):
        again("stopped", stop)
    assert again("stopped", checkpointing="on") == whole
    assert again("without", dropout=None) != whole
