"""What a scout learns: small adapters, by train's objective, on scenes that are not measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.models import Denoiser
from ablate2tune.progress import Progress
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.adapter import trainable
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_loop import train

RANK = 4
"""Of the adapters: enough to see what a module is good for."""
SHARE = 2
"""The scout takes one step, over all rounds, for so many of train's; half of them in the first
round, in which everything is learnt anew."""
FASTER = 1.25
"""How much higher than train's its learning rate is: its adapters are small and thrown away."""
PICTURES = 16
"""At most, in a step: it is steps by which a scout learns (on the testbed's first edition 112 of 16
pictures reached a margin of .09, 56 of 32 one of .045)."""
VALIDATED = 16
"""Pictures that a round is validated on, before and after: only to say how it went."""


def scout_steps(steps: int, rounds: int, asked: int | None = None) -> list[int]:
    """The steps of each round, for so many of train's, or as many as are asked for in all.

    >>> scout_steps(560, 3)
    [140, 70, 70]
    """
    total = max(2 * rounds, asked or steps // SHARE)
    if rounds == 1:
        return [total]
    return [total // 2, *[(total - total // 2) // (rounds - 1)] * (rounds - 1)]


def scout_config(config: TrainConfig, steps: int) -> TrainConfig:
    """The section `train` as a round of so many steps has it: data and loss stay.

    Its pictures all teach the skill: none is there to retain what the model does otherwise, and
    where some have high noise, all do, twins at level 1, where margins are measured (on the
    testbed's first edition 100 steps with `retention` 6 left the held-out margin where it was, and
    50 without it doubled it). What train chooses its modules by is at its defaults, so that no
    scout depends on it.
    """
    usual = TrainConfig()
    named = ("if_no_skill", "count", "modules", "draw", "method")
    chosen = {name: getattr(usual, name) for name in named}
    return config.model_copy(
        update={
            **chosen,
            "targets": "all",
            "rank": min(RANK, config.rank),
            "batch_size": min(PICTURES, config.batch_size),
            "learning_rate": FASTER * config.learning_rate,
            "retention": 0.0,
            "plain_captions": 0.0,
            "high_noise": 1.0 if config.high_noise else 0.0,
            "twins_from": None,
            "acts_above": None,
            "steps": steps,
            "warmup": None,
            "validate_every": steps,
            "validation_images": min(VALIDATED, config.validation_images),
            "sample_every": steps,
            "sample_prompts": 0,
        }
    )


def unmeasured(records: Sequence[SceneRecord], measured: Sequence[Contrast]) -> list[SceneRecord]:
    """The scenes of contrast groups that are not measured: what the scout may learn from."""
    held_out = {contrast.cluster for contrast in measured}
    return [record for record in records if record.group_id not in held_out]


def teach(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    modules: Sequence[str],
    config: TrainConfig,
    seed: int,
    folder: Path,
    begin: Mapping[str, Tensor] | None,
    on_progress: Progress,
) -> dict[str, Tensor]:
    """Train adapters on exactly these modules, which the denoiser then carries; resumable.

    Args:
        denoiser: adapters of a round before are taken off.
        records: the scenes.
        modules: full names of Linears.
        config: from `scout_config`.
        seed: of everything drawn.
        folder: of the round.
        begin: weights of the round before.
        on_progress: told (steps done, steps in all).

    Returns:
        The weights at the end, by parameter name.
    """
    denoiser.remove_adapter()
    train(
        denoiser,
        records,
        modules,
        config,
        seed,
        folder,
        initial=begin,
        on_progress=lambda done, total, _: on_progress(done, total),
    )
    return {name: p.detach().clone() for name, p in trainable(denoiser.model).items()}
