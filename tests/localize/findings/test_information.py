import numpy as np
import pytest
import torch
from scipy.optimize import check_grad

from ablate2tune.localize.findings.information import (
    Information,
    Readout,
    check_information,
    cross_validate,
    decidable,
    fit_logistic,
)
from ablate2tune.models import Conditioning
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.resampling import Resampling


def log_loss(parameters, x, y):
    """Written out plainly: sum of log(1 + exp(-s z)) + |w|^2 / 2."""
    z = x @ parameters[:-1] + parameters[-1]
    s = np.where(y, 1, -1)
    return float(sum(np.log1p(np.exp(-s * z))) + 0.5 * sum(parameters[:-1] ** 2))


@pytest.mark.parametrize("channels", [3, 40])
def test_fit_is_a_minimum_of_the_ridge_loss(channels: int):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, channels))
    y = x[:, 0] + rng.normal(size=20) > 0
    weights, bias = fit_logistic(x, y)
    fitted = np.append(weights, bias)
    best = log_loss(fitted, x, y)
    for step in np.eye(channels + 1):
        assert log_loss(fitted + 1e-3 * step, x, y) > best - 1e-6
        assert log_loss(fitted - 1e-3 * step, x, y) > best - 1e-6
    zero = lambda p: np.zeros_like(p)  # noqa: E731
    assert check_grad(lambda p: log_loss(p, x, y), zero, fitted) < 1e-2


def test_cross_validation_reads_a_readable_class_and_no_noise():
    rng = np.random.default_rng(1)
    groups = [str(i // 2) for i in range(120)]
    y = np.tile([True, False], 60)
    noise = rng.normal(size=(120, 10))
    signal = noise.copy()
    signal[:, 4] += np.where(y, 4.0, -4.0)
    assert (cross_validate(signal, y, groups, seed=0) == y).mean() > 0.98
    assert 0.35 < (cross_validate(noise, y, groups, seed=0) == y).mean() < 0.65


def test_whole_groups_are_held_out():
    """A feature that names the group would let a twin give its twin's class away."""
    rng = np.random.default_rng(2)
    codes = rng.normal(size=(40, 60))
    y_by_group = rng.random(40) > 0.5
    x, y = np.repeat(codes, 2, axis=0), np.repeat(y_by_group, 2)
    correct = cross_validate(x, y, [str(i // 2) for i in range(80)], seed=0) == y
    assert correct.mean() < 0.75


class WordEncoder:
    """One row per word: its code; rows before the relation word are marked if `keeps_order`."""

    def __init__(self, keeps_order: bool, keeps_relation: bool = True):
        self.keeps_order, self.keeps_relation = keeps_order, keeps_relation

    def encode_prompts(self, prompts):
        embeds = torch.stack([self._rows(prompt) for prompt in prompts])
        return Conditioning(embeds, embeds.sum(1))

    def _rows(self, prompt: str) -> torch.Tensor:
        rows = torch.zeros(16, 33)
        past_relation = False
        for i, word in enumerate(prompt.split()):
            relation = word in {"left", "right", "front", "behind", "top", "underneath"}
            past_relation |= relation
            if self.keeps_relation or word not in "left right of in front behind on top underneath":
                code = sum(ord(c) * 31**k for k, c in enumerate(word))
                rows[i, code % 32] = 1.0
            if self.keeps_order and not past_relation:
                rows[i, 32] = 1.0
        return rows

    def token_span(self, prompt: str, start: int, end: int) -> slice:
        first = len(prompt[:start].split())
        return slice(first, first + len(prompt[start:end].split()))


def check(encoder, records):
    return check_information(encoder, records, Resampling(0, 500, 0.95))


def test_an_encoder_that_keeps_order_carries_everything(make_contrasts):
    information = check(WordEncoder(keeps_order=True), make_contrasts(36))
    assert {one.question for one in information.readouts} == {
        "left of / right of",
        "behind / in front of",
        "on top of / underneath",
        "subject or object",
    }
    assert information.missing == []
    assert information.as_dict()["carried"] is True
    assert "text encoder" not in information.message


def test_an_encoder_that_loses_order_is_named(make_contrasts):
    information = check(WordEncoder(keeps_order=False), make_contrasts(36))
    assert information.missing == ["subject or object"]
    role = information.readouts[-1]
    # A bag of words says nothing about the role: each phrase is as often subject as object.
    assert role.accuracy is not None
    assert role.accuracy["low"] <= 0.5
    assert "look at the text encoder" in information.message
    assert information.as_dict()["carried"] is False


def test_an_encoder_that_loses_the_relation_is_named(make_contrasts):
    information = check(WordEncoder(keeps_order=False, keeps_relation=False), make_contrasts(36))
    assert len(information.missing) == 4


def test_too_few_groups_are_not_probed(make_contrasts):
    information = check(WordEncoder(keeps_order=True), make_contrasts(3))
    assert [one.accuracy for one in information.readouts] == [None] * 7
    assert information.as_dict()["carried"] is None
    assert "needs at least 4" in information.message


def test_a_perfect_readout_of_few_groups_is_undecided_and_nobody_s_fault():
    """Clopper-Pearson for 5 of 5 at 95 %: the lower bound is .025 ** (1 / 5) = .48."""
    for count, carried in ((4, None), (5, None), (6, True)):
        clusters = Clusters([str(i // 2) for i in range(2 * count)], Resampling(0, 500, 0.95))
        accuracy = clusters.accuracy(np.ones(2 * count, bool))
        assert accuracy["low"] == pytest.approx(0.025 ** (1 / count))
        information = Information([Readout("order", "tokens", accuracy, decidable(clusters))])
        assert information.missing == []
        assert information.as_dict()["carried"] is carried
        assert ("too few contrast groups" in information.message) == (carried is None)
        assert "text encoder" not in information.message
    wrong = clusters.accuracy(np.arange(12) % 2 == 0)
    information = Information([Readout("order", "tokens", wrong, decidable(clusters))])
    assert information.missing == ["order"]
    assert information.as_dict()["carried"] is False


def test_token_span_of_a_real_tokenizer(tiny_flux):
    text = "an orange ball left of a blue cube"
    words = tiny_flux.pipe.tokenizer_2(text).input_ids
    span = tiny_flux.token_span(text, text.index("blue"), len(text))
    vocabulary = tiny_flux.pipe.tokenizer_2.get_vocab()
    assert words[span] == [vocabulary["blue"], vocabulary["cube"]]
