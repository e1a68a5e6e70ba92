"""Families by the names of their pipeline classes; each registers itself."""

from collections.abc import Callable

from ablate2tune.models.denoiser import Denoiser
from ablate2tune.registry import Registry

FAMILIES: Registry[type[Denoiser]] = Registry("pipeline class", "ablate2tune.models.families")
"""Families by the names of their pipeline classes."""


def serves(*pipelines: str) -> Callable[[type[Denoiser]], type[Denoiser]]:
    """Register a family under the names of the diffusers pipeline classes that it serves."""

    def register(family: type[Denoiser]) -> type[Denoiser]:
        for pipeline in pipelines:
            FAMILIES.add(pipeline, family)
        return family

    return register
