"""The set of a ranking by ablation on a tiny real FLUX, by joint ablations made by hand."""

from contextlib import ExitStack

import pytest
import torch
from test_localize import CONFIG, SEED, favour, plain_margins  # type: ignore[import-not-found]

from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.measuring.racing import TOP, spread_order
from ablate2tune.models import load_denoiser


@pytest.fixture(scope="module")
def chosen(tiny_flux_config, make_contrasts, tmp_path_factory):
    denoiser = load_denoiser(tiny_flux_config)
    contrasts = favour(denoiser, make_contrasts(8))
    update = {"groups": 8, "mode": "zero", "projections": True, "racing": False, "top_blocks": 1}
    config = CONFIG.model_copy(update=update | {"noise_floor": False})
    folder = tmp_path_factory.mktemp("run")
    return denoiser, contrasts, localize(denoiser, contrasts, config, SEED, folder)


def zeroed(denoiser, names: list[str], contrasts) -> float:
    """The mean margin while these modules give zeros."""
    with ExitStack() as stack:
        for name in names:
            module = denoiser.model.get_submodule(name)
            handle = module.register_forward_hook(lambda _m, _a, out: torch.zeros_like(out))
            stack.callback(handle.remove)
        return plain_margins(denoiser, contrasts, [c.texts["target"] for c in contrasts]).mean()


def test_linears_are_ranked_beside_the_sublayers(chosen):
    _, _, ranking = chosen
    levels = {row["level"] for row in ranking.data["components"]}
    assert levels == {"block", "sublayer", "projection"}
    rows = [row for row in ranking.data["components"] if row["level"] == "projection"]
    assert all(row["lora_targets"] == [row["address"]] for row in rows)
    inside = {n for row in ranking.data["components"] if row["level"] == "sublayer"
              for n in row["lora_targets"]}  # fmt: skip
    assert {row["address"] for row in rows} == inside


def test_each_adds_what_is_lost_beyond_those_before_it(chosen):
    denoiser, contrasts, ranking = chosen
    found = ranking.data["set"]
    rows = [row for row in ranking.data["components"] if row["level"] == "projection"]
    assert len(found) == min(TOP, len(rows))
    names = [entry["address"] for entry in found]
    assert len(set(names)) == len(names)
    margins = plain_margins(denoiser, contrasts, [c.texts["target"] for c in contrasts])
    order = spread_order([contrast.cluster for contrast in contrasts], margins, SEED)
    judged = [contrast for contrast in contrasts if contrast.cluster in order[1::2]]
    for size in (1, 2, len(names)):
        lost = zeroed(denoiser, names[: size - 1], judged) - zeroed(denoiser, names[:size], judged)
        assert found[size - 1]["adds"]["value"] == pytest.approx(lost, abs=3e-6)
        assert found[size - 1]["settled"] == (found[size - 1]["adds"]["low"] > 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "trace"}, "acts on block alone"),
        ({"probe": "generate", "mode": "zero"}, "does not serve projections"),
    ],
)
def test_what_cannot_sweep_linears_is_refused(changes, message: str):
    with pytest.raises(ValueError, match=message):
        LocalizeConfig.model_validate({"projections": True, **changes})
