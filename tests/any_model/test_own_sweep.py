"""A sweep by a figure of one's own, against a loop without the package."""

import numpy as np
import pytest
import torch
from tiny_language import tiny_language_model, tokens

import ablate2tune
from ablate2tune.any_model.own_sweep import sweep
from ablate2tune.errors import UserError


@pytest.fixture(scope="module")
def model():
    return tiny_language_model("llama", num_hidden_layers=3)


def losses(model) -> np.ndarray:
    ids = tokens(rows=6, length=8)
    with torch.no_grad():
        return np.array([float(model(row[None], labels=row[None]).loss) for row in ids])


def test_what_is_lost_is_what_a_loop_of_hooks_finds(model):
    table = sweep(model, lambda: losses(model), higher_is_better=False, bootstrap=200)
    whole, expected = losses(model), {}
    for index, layer in enumerate(model.model.layers):
        handle = layer.register_forward_hook(lambda _m, args, _out: args[0])
        expected[f"model.layers.{index}"] = float((losses(model) - whole).mean())
        handle.remove()
    assert {row.address: pytest.approx(row.lost["value"], abs=1e-6) for row in table.rows} == (
        expected
    )
    values = [row.lost["value"] for row in table.rows]
    assert values == sorted(values, reverse=True)
    assert all(row.lost["low"] <= row.lost["value"] <= row.lost["high"] for row in table.rows)
    assert np.array_equal(losses(model), whole)


@pytest.mark.parametrize(("level", "count"), [("sublayer", 6), ("head", 12), ("projection", 21)])
def test_levels(model, level: str, count: int):
    table = sweep(model, lambda: losses(model)[:4], level=level, bootstrap=60)  # type: ignore
    assert len(table.rows) == count
    assert not table.left_out


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (lambda: 3.0, "not one number for each example"),
        (lambda: np.array([1.0, np.nan]), "not finite"),
        (lambda: np.array([1.0]), "an interval needs at least 2"),
    ],
)
def test_metrics_that_are_refused(model, metric, says: str):
    with pytest.raises(UserError, match=says):
        sweep(model, metric)


def test_the_root_names_what_it_says():
    for names in ablate2tune._PLACES.values():
        for name in names:
            assert getattr(ablate2tune, name) is not None
            assert f"`{name}`" in (ablate2tune.__doc__ or "") or name in (
                "Support", "collect_means", "ModelConfig",
            )  # fmt: skip
    with pytest.raises(AttributeError):
        _ = ablate2tune.nothing
