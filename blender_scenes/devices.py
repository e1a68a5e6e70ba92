# SPDX-License-Identifier: Apache-2.0
"""Which device Cycles renders on: a GPU on which a frame succeeds, else the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CPU = "CPU"
BACKENDS = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")
"""Tried in this order; a build of Blender has some of them."""


class NoGpuError(Exception):
    """A GPU was asked for and there is none that Cycles can render on."""


def choose(
    asked: str, preferences: Any, cycles: Any, works: Callable[[], bool], slot: int = 0
) -> str:
    """Set the device; returns the one in use, as "CPU" or "OPTIX: name of the GPU".

    Args:
        asked: "cpu", "gpu", or "auto" for a GPU where there is one.
        preferences: of Blender's add-on `cycles`.
        cycles: the scene's Cycles settings.
        works: whether a small frame renders with the settings as they are then.
        slot: number of this process among several; they take the GPUs in turn.

    Raises:
        NoGpuError: `asked` is "gpu", and no GPU is found or none renders.
    """
    cycles.device = "CPU"
    if asked == "cpu":
        return CPU
    unusable = []
    for backend in BACKENDS:
        try:
            preferences.compute_device_type = backend
        except TypeError:  # not in this build
            continue
        found = [d for d in preferences.get_devices_for_type(backend) if d.type == backend]
        if not found:
            continue
        chosen = found[slot % len(found)]
        for device in preferences.devices:
            device.use = device == chosen
        cycles.device = "GPU"
        name = f"{backend}: {chosen.name}"
        if works():
            return name
        unusable.append(name)
    cycles.device = "CPU"
    preferences.compute_device_type = "NONE"
    if asked == "gpu":
        why = f"; no frame could be rendered on {', '.join(unusable)}" if unusable else ""
        raise NoGpuError(f"Cycles finds no GPU to render on{why}")
    return CPU
