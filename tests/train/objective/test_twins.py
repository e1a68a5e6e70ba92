"""Twins in a batch: who is one, what they share, and that sharing changes no loss."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from ablate2tune.errors import UserError
from ablate2tune.models.calls.one_step import once_each
from ablate2tune.models.schedules import DiscreteSchedule, FlowMatching
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.objective.step_loss import step_loss
from ablate2tune.train.objective.twins import check_twins, noise_of_twins, same_inputs, twin_order
from ablate2tune.train.step_plan import batch_at
from ablate2tune.train.train_config import TrainConfig

CONFIG = TrainConfig(
    batch_size=8, contrast=3, high_noise=0.5, retention=0.5, twins=True, plain_captions=0.25
)
SHAPE = torch.Size((4, 16))


@pytest.fixture
def twins(records: list[SceneRecord]) -> list[SceneRecord]:
    """Four groups of two, each of which is what the other's foil says, then one scene alone."""
    made = []
    for group in range(4):
        a, b = f"a cube left of ball {group}", f"a cube right of ball {group}"
        for text, foil in ((a, b), (b, a)):
            changed = {"text": text, "foil": foil, "group_id": f"g{group}", "scene_id": text}
            made.append(dataclasses.replace(records[0], **changed))
    return [
        made[0],
        made[3],
        *made[4:],
        dataclasses.replace(made[0], group_id="h"),
        made[1],
        made[2],
    ]


def test_twins_stand_side_by_side(twins: list[SceneRecord]) -> None:
    assert twin_order(twins) == [2, 3, 4, 5, 0, 7, 1, 8, 6, 6]
    mirrored = [dataclasses.replace(record, mirrored=True) for record in twins[:2]]
    assert twin_order([*twins[:2], *mirrored]) == [0, 1, 2, 3]  # none is another's twin
    assert twin_order([twins[0], *mirrored, twins[7]]) == [0, 3, 1, 2]


def test_a_batch_of_twins(twins: list[SceneRecord]) -> None:
    seen = set()
    for step in range(1, 6):
        batch = batch_at(3, step, twins, SHAPE, CONFIG, 1.0, twins=twin_order(twins))
        high = [sigma == 1 for sigma in batch.sigma.tolist()]
        for left in range(0, 8, 2):
            a, b = (twins[batch.examples[place]] for place in (left, left + 1))
            assert (a.text, a.group_id) == (b.foil, b.group_id) or {a.group_id, b.group_id} == {"h"}
            assert torch.equal(batch.noise[left], batch.noise[left + 1])
            assert batch.sigma[left] == batch.sigma[left + 1]
            assert batch.kept[left] == batch.kept[left + 1]
            assert (batch.foils[left] is None) == (batch.foils[left + 1] is None)
        assert not torch.equal(batch.noise[0], batch.noise[2])
        assert all(foil is None or at_one for foil, at_one in zip(batch.foils, high, strict=True))
        seen |= set(high)
    assert seen == {True, False}


class Told:
    """Latents hold the example's number; a caption is its length and last letter."""

    def latents(self, examples: Sequence[int]) -> torch.Tensor:
        return torch.tensor(examples).float()[:, None, None].expand(-1, *SHAPE)

    def captions(self, captions: Sequence[str]) -> torch.Tensor:
        return torch.tensor([len(caption) + ord(caption[-1]) / 100 for caption in captions])

    def masks(self, examples: Sequence[int]) -> None:
        return None

    def size_of(self, example: int) -> None:
        return None


class Flow:
    """Predicts its input times the caption's number; counts the rows that it is given."""

    device, schedule, model = torch.device("cpu"), FlowMatching(), torch.nn.Module()
    rows = 0

    def denoising_loss(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        sigma: torch.Tensor,
        conditioning: torch.Tensor,
        guidance: float,
        kept: Any = None,
        same: Sequence[int] | None = None,
    ) -> torch.Tensor:
        def predict(latents: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, told):
            self.rows += len(sigma)
            return self.schedule.add_noise(latents, noise, sigma) * told[:, None, None]

        prediction = once_each(predict, (latents, noise, sigma, conditioning), same)
        return (prediction - (noise - latents)).square().mean((1, 2))


def test_sharing_changes_no_loss_and_halves_the_contrast(twins: list[SceneRecord]) -> None:
    config = CONFIG.model_copy(update={"high_noise": 1.0, "plain_captions": 0.0})
    pairs = twins[2:6]
    batch = batch_at(3, 1, pairs, SHAPE, config, 1.0, twins=twin_order(pairs))
    shared, apart = Flow(), Flow()
    loss = step_loss(shared, Told(), batch, config)  # pyright: ignore
    assert loss.item() == pytest.approx(
        step_loss(apart, Told(), batch._replace(noises=()), config).item()  # pyright: ignore
    )
    assert (shared.rows, apart.rows) == (8, 16)


def test_below_pure_noise_nothing_is_shared(twins: list[SceneRecord]) -> None:
    batch = batch_at(3, 1, twins, SHAPE, CONFIG, 1.0, twins=twin_order(twins))
    low = batch._replace(sigma=torch.full((8,), 0.999))
    assert same_inputs(low, [0, 1, 0], ["a", "a", "b"]) is None
    pure = batch._replace(sigma=torch.ones(8))
    assert same_inputs(pure, [0, 1, 0, 2], ["a", "a", "b", "a"]) == [0, 0, 2, 3]
    assert same_inputs(pure._replace(noises=()), [0, 1], ["a", "a"]) is None


def test_twins_noised_from_their_mean_are_one_input(twins: list[SceneRecord]) -> None:
    config = CONFIG.model_copy(
        update={"high_noise": 1.0, "plain_captions": 0.0, "twins_from": 0.6, "batch_size": 40}
    )
    pairs = twins[2:6]
    batch = batch_at(3, 1, pairs, SHAPE, config, 1.0, twins=twin_order(pairs))
    sigma, mixed = batch.sigma.tolist(), [twin is not None for twin in batch.twins]
    assert mixed == [level < 1 for level in sigma] and 8 <= sum(mixed) <= 32
    assert min(sigma) >= 0.6 and sigma[::2] == sigma[1::2] and None not in batch.foils
    pairs_of = list(zip(batch.examples[::2], batch.examples[1::2], strict=True))
    found = [twin for twin in batch.twins if twin is not None]
    assert found == [e for (a, b), m in zip(pairs_of, mixed[::2], strict=True) if m for e in (b, a)]

    latents = Told().latents(batch.examples)
    noise = noise_of_twins(batch, latents, Told().latents(found))
    noised = FlowMatching().add_noise(latents, noise, batch.sigma)
    for place in range(0, 40, 2):
        a, b = (latents[place + side] for side in (0, 1))
        level, own = sigma[place], batch.noise[place]
        torch.testing.assert_close(noised[place], (1 - level) * (a + b) / 2 + level * own)
        torch.testing.assert_close(noised[place], noised[place + 1])
        # The velocity that a flow has at its input x_s on the way to the picture x.
        velocity = (noised[place] - a) / level
        torch.testing.assert_close(noise[place] - a, velocity)

    shared, apart = Flow(), Flow()
    loss = step_loss(shared, Told(), batch, config)  # pyright: ignore
    assert loss.item() == pytest.approx(
        step_loss(apart, Told(), batch._replace(noises=()), config).item()  # pyright: ignore
    )
    assert (shared.rows, apart.rows) == (40, 80)
    assert batch.part(1, 2).twins == batch.twins[20:] and batch.pick([3, 1]).twins == [
        batch.twins[3],
        batch.twins[1],
    ]


def test_two_that_are_no_twins_are_noised_apart(twins: list[SceneRecord]) -> None:
    config = CONFIG.model_copy(update={"high_noise": 1.0, "twins_from": 0.6})
    strangers = [twins[0], twins[2]]
    batches = [batch_at(3, step, strangers, SHAPE, config, 1.0, twins=[0, 1]) for step in (1, 2)]
    assert all(set(batch.twins) == {None} for batch in batches)
    assert any(level < 1 for batch in batches for level in batch.sigma.tolist())


def test_who_has_no_twins(twins: list[SceneRecord]) -> None:
    class Model:
        schedule: Any = FlowMatching()

    check_twins(Model(), twins)  # pyright: ignore
    with pytest.raises(UserError, match="pictures of your own have no twins"):
        check_twins(Model(), [*twins, dataclasses.replace(twins[0], relation="")])  # pyright: ignore
    Model.schedule = DiscreteSchedule(torch.linspace(0.9, 0.1, 10), False)
    with pytest.raises(UserError, match=r"^train.twins: the model is no flow"):
        check_twins(Model(), twins)  # pyright: ignore


@pytest.mark.parametrize("lacks", [{"high_noise": 0.0}, {"batch_size": 7}, {"dropout": 0.1}])
def test_what_twins_need(lacks: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="twins share forward passes at high noise: set "):
        TrainConfig.model_validate(CONFIG.model_dump() | lacks)
    with pytest.raises(ValueError, match="twins_from is a level of twins"):
        TrainConfig(twins_from=0.9)
