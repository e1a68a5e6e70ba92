"""Keys of `train` that change nothing beside another; a run says so before its first step.

What speaks of modules that another key chooses is refused instead (`TrainConfig`). These are told:
they are often left from a recipe of which one key was overridden.
"""

from collections.abc import Iterator
from typing import Any

from ablate2tune.models import Studied
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.validation import retained_share


def idle_keys(config: TrainConfig) -> dict[str, str]:
    """The keys that are given and change nothing, each with what it stands beside.

    >>> idle_keys(TrainConfig(targets="all", count=4, steps=10))
    {'count': 'targets: all'}
    """
    given = given_keys(config)
    return {key: beside for key, beside in _idle(config) if key in given}


def given_keys(config: TrainConfig) -> set[str]:
    """The keys that a recipe gives.

    Where all are given, as where a config was written out whole: those that are not the defaults.
    """
    given = set(config.model_fields_set)
    if given == set(type(config).model_fields):
        usual = TrainConfig()
        return {key for key in given if getattr(config, key) != getattr(usual, key)}
    return given


def _idle(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Pairs of a key that would change nothing, given or not, and why."""
    targets = f"targets: {config.targets}"
    if config.targets in ("all", "list", "preset"):
        yield "count", targets
    for key in ("budget", "share"):
        if getattr(config, key) is not None:
            yield "count", key
    if config.targets not in ("top", "bottom"):
        yield "if_no_skill", targets
    if config.targets != "random":
        yield "draw", targets
    if config.method == "full":  # all of a module's weights, unscaled
        yield "rank", "method: full"
    if config.text is None:
        yield "length", "pictures"
    if config.data is None:
        yield "data_share", "no data"
    if not config.high_noise:
        yield "high_shift", "high_noise: 0"
    if config.high_noise == 1:
        yield "timesteps", "high_noise: 1"
        yield "shift", "high_noise: 1"
    if config.timesteps in ("uniform", "logit_normal"):
        yield "shift", f"timesteps: {config.timesteps}"
    full = 1 - config.caption_dropout - config.plain_captions
    if not config.contrast:
        yield "contrast_sharpness", "contrast: 0"
    elif full <= 0:
        yield "contrast", "captions of which none states a relation"
    if config.retention and not retained_share(config):
        yield "retention", "captions that all state a relation"


def idle_in(config: TrainConfig, studied: Studied) -> Iterator[str]:
    """Lines about the keys that are given and change nothing, for this model either.

    Args:
        config: of the run.
        studied: the model.
    """
    found = idle_keys(config)
    schedule: Any = getattr(studied, "schedule", None)
    given = given_keys(config)
    if schedule is not None:
        if schedule.predicts == "velocity" and "min_snr" in given:
            found["min_snr"] = "a flow, whose noise levels all count alike"
        if schedule.density == "uniform" and config.timesteps is None and "shift" in given:
            found.setdefault("shift", "timesteps: uniform, this family's own")
        embeds = dict(getattr(studied.model, "config", {})).get("guidance_embeds", False)
        if not embeds and "guidance" in given:
            found["guidance"] = "a model without an embedding of it"
    for key, beside in found.items():
        yield f"train.{key} = {getattr(config, key)} changes nothing beside {beside}"
