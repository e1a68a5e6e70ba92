import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import TARGETS, WEIGHTS, KilledError, assert_same_run, rows_of, weights_of

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.models.adapter_files import AdapterNote, read_note
from ablate2tune.scenes.dataset.records import SceneRecord, load_images
from ablate2tune.train import train
from ablate2tune.train.lessons import picture_lessons
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.watching import step_costs


def test_only_the_adapter_changes(whole_run, tiny_flux: FluxDenoiser):
    trained = dict(whole_run[0].model.state_dict())
    for name, tensor in tiny_flux.model.state_dict().items():
        parent, _, leaf = name.rpartition(".")
        inside = f"{parent}.base_layer.{leaf}"
        assert torch.equal(trained[inside if inside in trained else name], tensor), name
    for name, tensor in weights_of(whole_run[1]).items():
        assert tensor.any(), name


def test_stock_diffusers_loads_the_same_model(
    whole_run, tiny_flux: FluxDenoiser, tiny_flux_folder: Path
):
    trained, folder = whole_run[:2]
    stock = FluxPipeline.from_pretrained(tiny_flux_folder)
    stock.load_lora_weights(folder / "adapter")
    told = trained.encode_prompts(["a red ball left of a blue cube", "a green cone"])
    torch.manual_seed(0)
    latents, sigma = torch.randn(2, 16, 16), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        ours = trained.predict(latents, sigma, told)
        theirs = FluxDenoiser(stock, trained.config).predict(latents, sigma, told)
        untrained = tiny_flux.predict(latents, sigma, told)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert (ours - untrained).abs().max() > 1e-3


def test_the_first_step_is_adamw_on_the_flow_matching_loss(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path
):
    # One example, one step, the first draw of each generator: recomputed from its definition.
    from ablate2tune.seeding import torch_generator

    group = records[:4]
    config = TrainConfig(
        rank=2, steps=1, batch_size=1, warmup=0, plain_captions=0, validation_images=2,
        timesteps="logit_normal", learning_rate=0.01,
    )  # fmt: skip
    train(tiny_flux, group, TARGETS[:1], config, 5, tmp_path, sample_steps=1)
    logged = rows_of(tmp_path)[1]["loss"]

    noise = torch.randn(1, 16, 16, generator=torch_generator(5, "train noise", 1))
    sigma = torch.randn(1, generator=torch_generator(5, "train sigma", 1)).sigmoid()
    losses = []
    fresh = load_denoiser(tiny_flux.config)
    for record in group[:2]:
        with Image.open(record.image_path) as picture:
            pixels = np.array(picture)[None]
        latents = fresh.encode_images(pixels)
        with torch.no_grad():
            mixed = (1 - sigma) * latents + sigma * noise
            velocity = fresh.predict(mixed, sigma, fresh.encode_prompts([record.text]))
        losses.append((velocity - (noise - latents)).square().mean().item())
    assert min(abs(loss - logged) for loss in losses) < 1e-4 < abs(losses[0] - losses[1])
    # AdamW's first step moves each weight that has a gradient by the learning rate; B was zero.
    up = weights_of(tmp_path)[f"transformer.{TARGETS[0]}.lora_B.weight"]
    assert up.abs().median().item() == pytest.approx(0.01, rel=1e-3)


def test_files(whole_run):
    _, folder, summary, *_ = whole_run
    rows = files.read_jsonl(folder / "log.jsonl")
    assert [row["step"] for row in rows] == list(range(7))
    assert [row["step"] for row in rows if "validation" in row] == [0, 3, 6]
    assert rows[0]["loss"] is None
    assert all(math.isfinite(row["loss"]) for row in rows[1:])
    assert rows[1]["lr"] == pytest.approx(0.005)
    levels = [0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375]
    assert [float(sigma) for sigma in rows[3]["validation"]["by_sigma"]] == levels
    assert summary.course.start == (0, rows[0]["validation"]["as_trained"])
    assert summary.course.last == (6, rows[6]["validation"]["as_trained"])
    names = [p.name for p in sorted((folder / "samples").iterdir())]
    assert names == [f"step-{step:06d}.png" for step in (0, 4, 6)]
    told = {0: names[0], 4: names[1], 6: names[2]}
    assert whole_run.steps == [(step, told.get(step)) for step in range(7)]
    with Image.open(folder / "samples" / names[0]) as grid:
        # Two 32-pixel pictures enlarged six times, side by side, with prompts underneath.
        assert grid.width == 2 * 192 + 3 * 8 and grid.height > 192 + 16

    targets = json.loads((folder / "targets.json").read_text())
    assert targets["schema"] == "ablate2tune/targets/1"
    assert targets["requested"] == targets["injected"] == TARGETS == summary.injected
    assert targets["ranks"] == dict.fromkeys(TARGETS, 2)
    assert targets["parameters"]["by_module"] == {TARGETS[0]: 128, TARGETS[1]: 384}
    assert targets["parameters"]["trainable"] == summary.parameters.trainable == 512
    assert targets["ranking"] == [{"address": TARGETS[0], "rank": 1}]


def test_what_it_would_cost_and_what_it_cost(
    whole_run, tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path, monkeypatch
):
    _, folder, _, config, lines, *_ = whole_run
    foretold = next(line for line in lines if line.startswith("time: "))
    assert re.fullmatch(
        r"time: about [\d.e-]+ s a step, [\d.e-]+ min for 6 steps, on \d+ threads?", foretold
    )
    told = r"a step took [\d.e-]+ s \([\d.e-]+ were foretold\), memory peaked at [\d.]+ GB \(.*\)"
    assert re.fullmatch(told, next(line for line in lines if line.startswith("a step took")))
    costs, rows = files.read_json(folder / "costs.json"), files.read_jsonl(folder / "log.jsonl")
    seconds = sorted(row["seconds"] for row in rows[1:])
    assert costs["steps"] == 6
    middle = (seconds[2] + seconds[3]) / 2
    assert costs["measured"]["seconds_per_step"] == pytest.approx(middle, abs=1e-4)
    assert costs["measured"]["memory_gb"] >= rows[-1]["memory_gb"] - 1e-3
    assert costs["foretold"]["seconds_per_step"] > 0
    # Without that look nothing else is another.
    monkeypatch.setattr(step_costs, "predict_seconds", lambda *_: None)
    said: list[str] = []
    train(tiny_flux, records, TARGETS, config, 3, tmp_path, sample_steps=2, on_message=said.append)
    assert_same_run(tmp_path, folder)
    assert not any(line.startswith("time: ") for line in said)


def test_every_step_pairs_latents_with_their_own_caption(
    tiny_flux: FluxDenoiser,
    records: list[SceneRecord],
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch,
):
    seen = []

    def spy(latents, noise, sigma, conditioning, guidance):
        step = torch.is_grad_enabled() and noise.any()  # no look at what it costs
        if step and len(latents) == config.batch_size:
            seen.extend(zip(latents, conditioning.prompt_embeds, strict=True))
        return loss(latents, noise, sigma, conditioning, guidance)

    loss = tiny_flux.denoising_loss
    monkeypatch.setattr(tiny_flux, "denoising_loss", spy)
    config = config.model_copy(update={"plain_captions": 0.4})
    train(tiny_flux, records, TARGETS, config, 0, tmp_path, sample_steps=1)

    trained, fresh = records[:8], load_denoiser(tiny_flux.config)
    latents = fresh.encode_images(load_images(trained)).flatten(1)
    used = []
    for example, embeds in seen:
        distances = (latents - example.flatten()).norm(dim=1)
        index = int(distances.argmin())
        assert distances[index] < 1e-3
        record = trained[index]
        own = [record.text, record.pair_text, ""]
        told = fresh.encode_prompts(own).prompt_embeds
        gaps = (told - embeds).flatten(1).norm(dim=1)
        assert gaps.min() < 1e-4
        # The twin's caption holds the same words; it must not pass for the record's own.
        twins = fresh.encode_prompts([record.foil]).prompt_embeds[0]
        assert (twins - embeds).norm() > 1e-2
        used.append((index, int(gaps.argmin())))
    # 24 draws are three epochs of eight examples, and every kind of caption came up.
    assert sorted(index for index, _ in used) == sorted(list(range(8)) * 3)
    assert {kind for _, kind in used} == {0, 1, 2}


@pytest.mark.parametrize("when", [1, 2, 5])
def test_an_interrupted_run_ends_the_same_bit_for_bit(
    whole_run, tiny_flux_config, records: list[SceneRecord], tmp_path: Path, when: int
):
    _, whole, _, config, *_ = whole_run

    def stop(done: int, total: int, note: str) -> None:
        if done == when:
            raise KilledError

    def again(**options):
        torch.manual_seed(when)
        denoiser = load_denoiser(tiny_flux_config)
        return train(denoiser, records, TARGETS, config, 3, tmp_path, sample_steps=2, **options)

    with pytest.raises(KilledError):
        again(on_progress=stop)
    assert again().resumed_from == when // 2 * 2
    assert_same_run(tmp_path, whole)
    # A finished run is left as it is.
    assert again().resumed_from == 6
    assert_same_run(tmp_path, whole)


def test_the_last_checkpoints_are_kept_also_by_a_run_that_was_killed(
    whole_run, tiny_flux_config, records: list[SceneRecord], tmp_path: Path, monkeypatch
):
    folders, names = tmp_path / "checkpoints", ["step-000004", "step-000006"]
    config = whole_run.config.model_copy(update={"keep_checkpoints": 2})

    def again(killed_at: int | None = None):
        denoiser = load_denoiser(tiny_flux_config)
        write = denoiser.save_adapter

        def stop(folder: Path, note: AdapterNote, weights: dict) -> Path:
            if killed_at and note.step == killed_at:
                raise KilledError
            return write(folder, note, weights)

        monkeypatch.setattr(denoiser, "save_adapter", stop)
        return train(denoiser, records, TARGETS, config, 3, tmp_path, sample_steps=2)

    with pytest.raises(KilledError):
        again(killed_at=4)
    assert [path.name for path in folders.iterdir()] == ["step-000002"]
    state = load_file(tmp_path / "checkpoint" / "state.safetensors")
    (folders / "step-000005").mkdir()
    assert again().resumed_from == 2
    assert sorted(path.name for path in folders.iterdir()) == names
    assert_same_run(tmp_path, whole_run.folder)  # the key changes nothing else
    assert not (whole_run.folder / "checkpoints").exists()

    file = folders / names[1] / Path(WEIGHTS).name
    last = weights_of(tmp_path)
    assert load_file(file).keys() == last.keys()
    assert all(torch.equal(tensor, last[name]) for name, tensor in load_file(file).items())
    note = read_note(file)
    assert note is not None and note.step == 6
    key = f"{TARGETS[0]}.lora_B"
    early = load_file(folders / names[0] / file.name)[f"transformer.{key}.weight"]
    assert not torch.equal(early, last[f"transformer.{key}.weight"])
    assert not torch.equal(early, state[f"adapter {key}.default.weight"])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, tmp_path: Path
):
    def poison(done: int, total: int, note: str) -> None:
        if done == 3:
            with torch.no_grad():
                tiny_flux.model.get_parameter("x_embedder.weight").fill_(torch.nan)

    told = r"the loss is nan at step 4: the first .* not finite is that of x_embedder; .*`rm -r"
    with pytest.raises(UserError, match=told):
        train(tiny_flux, records, TARGETS, config, 0, tmp_path, sample_steps=1, on_progress=poison)
    kept = load_file(tmp_path / "checkpoint" / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.values())
    assert [row["step"] for row in rows_of(tmp_path)] == [0, 1, 2, 3]
    assert not (tmp_path / "adapter").exists()


def test_a_gradient_that_is_not_finite_is_named_by_its_module(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, tmp_path: Path
):
    def poison(done: int, total: int, note: str) -> None:
        if done == 2:
            up = tiny_flux.model.get_parameter(f"{TARGETS[1]}.lora_B.default.weight")
            up.register_hook(lambda gradient: gradient / 0)
            seen.append(up.detach().clone())

    seen: list[torch.Tensor] = []
    told = f"is (nan|inf) at step 3: the first adapted .* is {TARGETS[1]}; "
    with pytest.raises(UserError, match=told):
        train(tiny_flux, records, TARGETS, config, 0, tmp_path, sample_steps=1, on_progress=poison)
    kept = load_file(tmp_path / "checkpoint" / "state.safetensors")
    assert torch.equal(kept[f"adapter {TARGETS[1]}.lora_B.default.weight"], seen[0])
    up = tiny_flux.model.get_parameter(f"{TARGETS[1]}.lora_B.default.weight")
    assert torch.equal(up, seen[0])


def test_other_settings_are_refused(
    tiny_flux_config, whole_run, records: list[SceneRecord], tmp_path: Path
):
    _, whole, _, config, *_ = whole_run
    (tmp_path / "checkpoint").mkdir()
    state = (whole / "checkpoint" / "state.safetensors").read_bytes()
    (tmp_path / "checkpoint" / "state.safetensors").write_bytes(state)
    other = config.model_copy(update={"learning_rate": 0.02})
    with pytest.raises(UserError, match=r"train\.learning_rate was 0\.01, is 0\.02"):
        train(load_denoiser(tiny_flux_config), records, TARGETS, other, 3, tmp_path)
    (tmp_path / "checkpoint" / "state.safetensors").write_bytes(state[:1000])
    with pytest.raises(UserError, match="damaged checkpoint"):
        train(load_denoiser(tiny_flux_config), records, TARGETS, config, 3, tmp_path)


def test_the_guidance_embedding_gets_the_training_value(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, tmp_path: Path
):
    seen = []
    plain = tiny_flux.predict

    def spy(latents, sigma, conditioning, guidance=None):
        seen.append(guidance)
        return plain(latents, sigma, conditioning, guidance)

    tiny_flux.predict = spy
    config = config.model_copy(update={"guidance": 1.5, "steps": 1})
    train(tiny_flux, records, TARGETS, config, 0, tmp_path, sample_steps=1)
    assert set(seen) == {1.5}


def test_blocks_before_the_first_target_build_no_graph(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, tmp_path: Path
):
    grads = {}
    for name in ("transformer_blocks.0", "transformer_blocks.1", "single_transformer_blocks.0"):
        tiny_flux.model.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: grads.setdefault(name, set()).add(
                (torch.is_grad_enabled(), out[1].requires_grad)
            )
        )
    targets = ["single_transformer_blocks.0.proj_out"]
    config = config.model_copy(update={"steps": 1})
    train(tiny_flux, records, targets, config, 0, tmp_path, sample_steps=1)
    assert (True, True) in grads["single_transformer_blocks.0"]
    for name in ("transformer_blocks.0", "transformer_blocks.1"):
        assert grads[name] == {(True, False), (False, False)}


def test_the_best_weights_are_kept_where_the_last_fell_behind(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, tmp_path: Path,
    monkeypatch,
):  # fmt: skip
    validations = iter([1.0, 0.5, 0.9])  # before step 1, after steps 3 and 6
    monkeypatch.setattr(picture_lessons, "validation_losses", lambda *_: [next(validations)] * 8)
    name, seen, lines = f"{TARGETS[0]}.lora_B.default.weight", {}, []

    def look(done: int, total: int, note: str) -> None:
        seen[done] = tiny_flux.model.get_parameter(name).detach().clone()

    train(
        tiny_flux, records, TARGETS, config, 3, tmp_path, sample_steps=1,
        on_progress=look, on_message=lines.append,
    )  # fmt: skip
    key = f"transformer.{TARGETS[0]}.lora_B.weight"
    assert torch.equal(weights_of(tmp_path)[key], seen[3])
    last = load_file(tmp_path / "adapter-last" / "pytorch_lora_weights.safetensors")
    assert torch.equal(last[key], seen[6]) and not torch.equal(seen[3], seen[6])
    assert lines[-2].endswith("validation 1 -> 0.9 (best 0.5 at step 3)")
    assert lines[-1].startswith("warning: validation ended at 0.9, after 0.5 at step 3; adapter/")
