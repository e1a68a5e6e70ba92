"""Ways to adapt: what is written is what was trained, and a run that was stopped ends alike."""

from pathlib import Path

import pytest
import torch

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.models import AdapterNote, load_denoiser, read_note
from ablate2tune.train import train
from ablate2tune.train.adapter import trainable
from ablate2tune.train.methods.adapter_method import METHODS, of_one_rank, rank_of
from ablate2tune.train.train_config import TrainConfig

TARGETS = ["transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_out"]
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"


def prediction(denoiser, seed: int = 0) -> torch.Tensor:
    latents = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(seed))
    shape = denoiser.encode_images(torch.zeros(1, 32, 32, 3, dtype=torch.uint8).numpy()).shape
    latents = latents.reshape(-1)[: shape.numel()].reshape(shape)
    with torch.no_grad():
        return denoiser.predict(latents, torch.tensor([0.7]), denoiser.encode_prompts(["a cube"]))


@pytest.mark.parametrize("method", ["eva", "adalora"])
def test_what_is_written_is_what_was_trained(
    tiny_flux_config, records, config, tmp_path: Path, method: str
) -> None:
    settings = config.model_copy(update={"method": method, "rank": 4, "learning_rate": 0.05})
    denoiser = load_denoiser(tiny_flux_config)
    before = prediction(denoiser)
    whole = train(denoiser, records, TARGETS, settings, 3, tmp_path / "whole", sample_steps=1)
    trained = prediction(denoiser)
    moved = (trained - before).abs().max()
    assert moved > 1e-4

    fresh = load_denoiser(tiny_flux_config)
    fresh.load_adapter(tmp_path / "whole" / "adapter")
    assert (prediction(fresh) - trained).abs().max() < 0.01 * moved
    note = read_note(whole.adapter)
    assert note is not None and set(note.targets) <= set(TARGETS)

    def stop(done: int, total: int, told: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    arguments = records, TARGETS, settings, 3, tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train(load_denoiser(tiny_flux_config), *arguments, sample_steps=1, on_progress=stop)
    train(load_denoiser(tiny_flux_config), *arguments, sample_steps=1)
    written = [(tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "stopped")]
    assert written[0] == written[1]


def test_eva_keeps_the_ranks_it_is_given_in_all(
    tiny_flux_config, records, config, tmp_path: Path
) -> None:
    settings = config.model_copy(update={"method": "eva", "rank": 4, "steps": 2})
    train(load_denoiser(tiny_flux_config), records, TARGETS, settings, 3, tmp_path, sample_steps=1)
    ranks = files.read_json(tmp_path / "targets.json")["ranks"]
    assert sum(ranks.values()) == 4 * len(TARGETS)


def test_padding_to_one_rank_changes_no_product() -> None:
    weights = {
        "a.lora_A.weight": torch.randn(2, 5), "a.lora_B.weight": torch.randn(3, 2),
        "b.lora_A.weight": torch.randn(4, 5), "b.lora_B.weight": torch.randn(3, 4),
    }  # fmt: skip
    padded = of_one_rank(weights)
    assert padded["a.lora_A.weight"].shape == (4, 5) and padded["a.lora_B.weight"].shape == (3, 4)
    for name in "ab":
        was, now = (
            w[f"{name}.lora_B.weight"] @ w[f"{name}.lora_A.weight"] for w in (weights, padded)
        )
        assert torch.allclose(was, now)


@pytest.mark.parametrize("method", ["rslora", "dora", "lokr", "oft", "full"])
def test_other_ways_begin_at_the_base_and_are_written_as_what_they_are(
    tiny_flux_config, tmp_path: Path, method: str
) -> None:
    alpha = None if method == "oft" else 6  # rotations have no scale
    config = TrainConfig(rank=4, alpha=alpha, method=method)
    denoiser = load_denoiser(tiny_flux_config)
    before = prediction(denoiser)
    way = METHODS[method](denoiser.model, config, 3)
    way.check(TARGETS)
    assert way.inject(TARGETS, lambda step: None) == TARGETS
    assert torch.allclose(prediction(denoiser), before, atol=1e-5)
    torch.manual_seed(5)
    for parameter in trainable(denoiser.model).values():
        parameter.data += 0.05 * torch.randn_like(parameter)
    trained = prediction(denoiser)
    moved = (trained - before).abs().max()
    assert moved > 1e-4

    weights = way.weights()
    note = AdapterNote(
        base="b", rank=rank_of(weights), targets=TARGETS, seed=3, height=32, width=32
    )
    denoiser.save_adapter(tmp_path, note, weights)
    fresh = load_denoiser(tiny_flux_config)
    fresh.load_adapter(tmp_path)
    assert (prediction(fresh) - trained).abs().max() < 0.01 * moved


def test_full_trains_every_weight_of_the_modules_and_no_other(tiny_flux) -> None:
    sizes = [tiny_flux.model.get_parameter(f"{name}.weight").numel() for name in TARGETS]
    way = METHODS["full"](tiny_flux.model, TrainConfig(method="full"), 0)
    way.inject(TARGETS, lambda step: None)
    assert sum(p.numel() for p in trainable(tiny_flux.model).values()) == sum(sizes)
    assert [way.cost(tiny_flux.model, f"{name}.base_layer", 9) for name in TARGETS] == sizes


def test_an_unknown_way_is_one_line() -> None:
    with pytest.raises(UserError, match="no way to adapt 'evaa'; did you mean 'eva'"):
        METHODS["evaa"]


@pytest.mark.parametrize("method, takes", [("eva", True), ("dora", False), ("full", False)])
def test_methods_without_dropout_say_so(config: TrainConfig, method: str, takes: bool) -> None:
    settings = config.model_copy(update={"method": method, "dropout": 0.1})
    if takes:
        METHODS[method].check_config(settings)
        return
    with pytest.raises(UserError, match=f"{method} takes no dropout"):
        METHODS[method].check_config(settings)


def test_adaloras_alpha_scales_what_it_adds(tiny_flux_config, config: TrainConfig) -> None:
    found = []
    for alpha in (None, 8.0):
        denoiser = load_denoiser(tiny_flux_config)
        settings = config.model_copy(update={"method": "adalora", "rank": 4, "alpha": alpha})
        method = METHODS["adalora"](denoiser.model, settings, 3)
        method.inject(TARGETS, lambda _: None)
        for name, parameter in trainable(denoiser.model).items():
            if "lora_E" in name:
                parameter.data.fill_(0.5)
        weights = method.weights()
        up, down = (weights[f"{TARGETS[0]}.lora_{side}.weight"] for side in "BA")
        layer = denoiser.model.get_submodule(TARGETS[0])
        x = torch.randn(2, down.shape[1], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            added = layer(x) - layer.base_layer(x)
        torch.testing.assert_close(x @ (up @ down).T, added, rtol=1e-4, atol=1e-6)
        found.append(added)
    torch.testing.assert_close(found[1], 2 * found[0], rtol=1e-4, atol=1e-6)


def test_rotations_have_no_alpha(config: TrainConfig) -> None:
    with pytest.raises(UserError, match="no scale"):
        METHODS["oft"].check_config(config.model_copy(update={"method": "oft", "alpha": 2.0}))
