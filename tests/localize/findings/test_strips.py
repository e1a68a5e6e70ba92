"""Impact per noise level against the rows, and pictures against plain ablated sampling."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_localize import CONFIG, SEED, SIGMAS, favour  # type: ignore[import-not-found]

from ablate2tune.localize.findings.strips import STEPS, WHOLE
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.sampling import timesteps_told


@pytest.fixture(scope="module")
def run(tiny_flux_config, make_contrasts, tmp_path_factory):
    from ablate2tune.models import load_denoiser

    denoiser = load_denoiser(tiny_flux_config)
    folder = tmp_path_factory.mktemp("strips")
    changes = {"strips": 3, "racing": False}
    config = CONFIG.model_copy(update={**changes, "noise_floor": False})
    records = favour(denoiser, make_contrasts(9))
    return denoiser, localize(denoiser, records, config, SEED, folder), folder


def test_impact_per_noise_level_is_that_of_the_rows(run):
    _, ranking, folder = run
    data = json.loads((folder / "timesteps.json").read_text())
    assert data["sigmas"] == SIGMAS
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    by_address: dict[str, list] = {}
    for row in rows:
        if len(row["condition"]) < 2:
            by_address.setdefault("".join(row["condition"]), []).append(row["by_sigma"]["target"])
    base = np.mean(by_address[""], axis=0)
    ranked = sorted(ranking.data["components"], key=lambda row: row["rank"])
    assert [c["address"] for c in data["components"]] == [row["address"] for row in ranked[:8]]
    for component, row in zip(data["components"], ranked, strict=False):
        expected = base - np.mean(by_address[component["address"]], axis=0)
        values = [interval["value"] for interval in component["target"]]
        assert values == pytest.approx(list(expected), abs=1e-9)
        assert np.mean(values) == pytest.approx(row["target"]["value"], abs=1e-9)
    assert min(Image.open(folder / "timesteps.png").size) > 200


def test_strips_show_what_a_cut_model_draws(run):
    denoiser, ranking, folder = run
    data = json.loads((folder / "strips.json").read_text())
    ranked = sorted(ranking.data["components"], key=lambda row: row["rank"])
    names = [column["component"] for column in data["columns"]]
    assert names == [WHOLE, *(row["address"] for row in ranked[:3])]
    assert len(data["prompts"]) == len(set(data["prompts"])) == 4

    def shown(column: int) -> np.ndarray:
        files = data["columns"][column]["files"]
        return np.stack([np.array(Image.open(folder / file)) for file in files])

    whole = denoiser.sample(data["prompts"], data["seeds"], STEPS)
    np.testing.assert_array_equal(shown(0), whole)
    page = Image.open(folder / "strips.png")
    assert page.size[0] > 4 * 192
    for number, column in enumerate(data["columns"][1:], start=1):
        assert (shown(number) != whole).any()
        if column["mode"] != "skip":
            continue
        block = denoiser.model.get_submodule(column["component"])
        own = block.forward
        block.forward = lambda *_, **inputs: (
            inputs["encoder_hidden_states"],
            inputs["hidden_states"],
        )
        np.testing.assert_array_equal(
            shown(number), denoiser.sample(data["prompts"], data["seeds"], STEPS)
        )
        block.forward = own
    assert {column["mode"] for column in data["columns"]} >= {"none", "skip"}


def test_timesteps_are_told_in_the_model_s_units(run):
    denoiser, _, _ = run
    seen: list[float] = []
    with timesteps_told(denoiser.model, seen.append):
        denoiser.sample(["a cube"], [0], 3)
        conditioning = denoiser.encode_prompts(["a cube"])
        denoiser.predict(torch.zeros(1, 16, 16), torch.tensor([0.25]), conditioning)
    assert len(seen) == 4
    assert seen[0] == pytest.approx(1)
    assert seen[3] == pytest.approx(0.25)
    assert seen[:3] == sorted(seen[:3], reverse=True)
