import math

import pytest
import torch

from ablate2tune.models.schedules import FlowMatching
from ablate2tune.train.objective.step_loss import Backward, contrast_term, step_loss
from ablate2tune.train.step_plan import Batch
from ablate2tune.train.train_config import TrainConfig


def test_the_contrast_by_hand():
    true, foil = torch.tensor([0.5, 1.0, 0.0]), torch.tensor([0.5, 0.0, 3.0])
    # log(1 + e^(2d)) / 2 for d = 0, 1 and -3.
    by_hand = [math.log(2) / 2, math.log(1 + math.e**2) / 2, math.log(1 + math.e**-6) / 2]
    assert contrast_term(true, foil, 2.0).tolist() == pytest.approx(by_hand)


def test_a_pair_that_is_told_apart_is_let_be():
    true = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    foil = torch.tensor([0.0, 0.0, 1.0])
    contrast_term(true, foil, 20.0).sum().backward()
    assert true.grad is not None
    # The slope is 1 / (1 + e^(-s d)).
    assert true.grad.tolist() == pytest.approx([0.5, 1.0, 0.0], abs=1e-6)


class Told:
    """Latents hold the example's number; a caption is a number; perhaps masks do too."""

    def __init__(self, masked: bool = False):
        self.masked = masked

    def masks(self, examples):
        return -torch.tensor(examples).float() if self.masked else None

    def latents(self, examples):
        return torch.tensor(examples).float()[:, None]

    def captions(self, captions):
        return torch.tensor([float(caption) for caption in captions])

    def size_of(self, example):
        return None

    def together(self, examples):
        return [list(range(len(examples)))]


class Denoiser:
    """Loses weight * (example + 10 * caption); remembers its rows."""

    device = torch.device("cpu")
    schedule = FlowMatching()
    model = torch.nn.Module()

    def __init__(self, most: int = 100):
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.most, self.calls = most, []

    def denoising_loss(self, latents, noise, sigma, conditioning, guidance, kept=None, weight=None):
        self.weights = weight
        if len(latents) > self.most:
            self.weight.sum().backward()
            raise torch.OutOfMemoryError
        self.calls.append((latents[:, 0].tolist(), noise[:, 0].tolist(), sigma.tolist(), kept))
        return self.weight * (latents[:, 0] + 10 * conditioning)


CONFIG = TrainConfig(batch_size=4, contrast=3, contrast_sharpness=0.5, retention=0.25)
BATCH = Batch(
    examples=[4, 5, 6, 7],
    captions=["0.1", "0.2", "0.3", "0.4"],
    foils=[None, "0.5", None, "0"],
    kept=[True, False, False, False],
    sigma=torch.tensor([0.6, 0.7, 0.8, 0.9]),
    noise=torch.tensor([[1.0], [2.0], [3.0], [4.0]]),
)
LOSSES = [5.0, 7.0, 9.0, 11.0]  # under the captions; under the foils 10 and 7
BY_HAND = (
    0.25 * 5.0 + 7.0 + 9.0 + 11.0
    + 3 * (math.log(1 + math.exp(0.5 * (7 - 10))) + math.log(1 + math.exp(0.5 * (11 - 7)))) / 0.5
)  # fmt: skip


def test_a_steps_loss_by_hand():
    denoiser = Denoiser()
    total = step_loss(denoiser, Told(), BATCH, CONFIG)  # type: ignore[arg-type]
    assert total.item() == pytest.approx(BY_HAND)
    [(examples, noise, sigma, kept)] = denoiser.calls
    # One pass; a foil has its picture's latents, noise and noise level.
    assert examples == [4, 5, 6, 7, 5, 7] and noise == [1, 2, 3, 4, 2, 4]
    assert sigma == pytest.approx([0.6, 0.7, 0.8, 0.9, 0.7, 0.9])
    assert kept.tolist() == [True] + [False] * 5


def test_a_foil_is_seen_through_its_pictures_mask():
    denoiser = Denoiser()
    step_loss(denoiser, Told(masked=True), BATCH, CONFIG)  # type: ignore[arg-type]
    assert denoiser.weights.tolist() == [-4, -5, -6, -7, -5, -7]


def test_without_foils_and_retention_it_is_the_families_own_loss():
    denoiser = Denoiser()
    batch = BATCH._replace(foils=[None] * 4, kept=[False] * 4)
    total = step_loss(denoiser, Told(), batch, CONFIG)  # type: ignore[arg-type]
    assert total.item() == sum(LOSSES)
    assert denoiser.calls[0][0] == [4, 5, 6, 7] and denoiser.calls[0][3] is None


@pytest.mark.parametrize("most, calls", [(6, 1), (5, 2), (2, 4)])
def test_in_parts_the_sums_are_the_same(most: int, calls: int):
    denoiser = Denoiser(most)
    optimizer = torch.optim.AdamW([denoiser.weight])
    backward = Backward(denoiser, Told(), CONFIG)  # type: ignore[arg-type]
    assert backward(BATCH, optimizer).item() == pytest.approx(BY_HAND / 4)
    assert len(denoiser.calls) == calls
    # d/dw of each loss w * l is l; of softplus(s w d) / s it is d * sigmoid(s d).
    slope = 1.25 + 27 + 3 * (-3 / (1 + math.exp(1.5)) + 4 / (1 + math.exp(-2)))
    assert denoiser.weight.grad is not None
    assert denoiser.weight.grad.item() == pytest.approx(slope / 4)


def test_once_more_without_gradients_in_the_same_parts():
    denoiser = Denoiser(most=2)
    optimizer = torch.optim.AdamW([denoiser.weight])
    backward = Backward(denoiser, Told(), CONFIG)  # type: ignore[arg-type]
    backward(BATCH, optimizer)
    calls, grad = list(denoiser.calls), denoiser.weight.grad
    denoiser.calls.clear()
    backward.forward(BATCH)
    assert [call[:3] for call in denoiser.calls] == [call[:3] for call in calls]
    assert len(calls) == 4 and denoiser.weight.grad is grad


@pytest.mark.parametrize("micro, parts", [(4, [4]), (3, [3, 1]), (2, [2, 2]), (1, [1, 1, 1, 1])])
def test_gradients_of_a_micro_batch_add_up_to_those_of_the_whole(micro: int, parts: list[int]):
    config = CONFIG.model_copy(update={"micro_batch": micro, "batch_size": 4})
    whole, denoiser = Denoiser(), Denoiser()
    for model, said in ((whole, CONFIG), (denoiser, config)):
        optimizer = torch.optim.AdamW([model.weight])
        loss = Backward(model, Told(), said)(BATCH, optimizer)  # type: ignore[arg-type]
        assert loss.item() == pytest.approx(BY_HAND / 4)
    pictures = [len({*call[0]}) for call in denoiser.calls]
    assert pictures == parts and [len({*call[0]}) for call in whole.calls] == [4]
    assert denoiser.weight.grad is not None and whole.weight.grad is not None
    assert denoiser.weight.grad.item() == pytest.approx(whole.weight.grad.item(), rel=1e-6)
