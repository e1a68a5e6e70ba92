"""InceptionV3's pool features, as torch-fidelity computes them: what FID is defined on.

torch-fidelity needs torchvision, which the rest of the project does without; so it is an extra.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate2tune.errors import UserError, reason

BATCH = 32
"""Pictures per forward."""
INSTALL = "pip install 'ablate2tune[fid]'"
NAME, FEATURES = "inception-v3-compat", "2048"


def installed() -> bool:
    """Whether torch-fidelity is there, with the torchvision that it imports."""
    return all(importlib.util.find_spec(name) for name in ("torch_fidelity", "torchvision"))


class Inception:
    """The InceptionV3 of the original FID, with TensorFlow's weights and resizing."""

    def __init__(self, weights: Path | None, device: torch.device | str = "cpu"):
        """Load torch-fidelity's extractor.

        Args:
            weights: a file of weights; torch-fidelity fetches its own if None.
            device: where it runs.

        Raises:
            UserError: torch-fidelity is not installed, or the weights cannot be had.
        """
        if not installed():
            raise UserError(
                "FID needs torch-fidelity and torchvision, and one is not installed",
                where="localize.generate.fid",
                mend=f"{INSTALL}, or set it to off and read frechet_clip",
            )
        from torch_fidelity.feature_extractor_inceptionv3 import (  # pyright: ignore
            FeatureExtractorInceptionV3,
        )

        path = None if weights is None else str(weights)
        try:
            self._model: Any = FeatureExtractorInceptionV3(
                NAME, [FEATURES], feature_extractor_weights_path=path
            )
        except Exception as error:  # torch.hub, pickle and load_state_dict each raise their own
            raise UserError(
                f"cannot load InceptionV3's weights ({reason(error)})",
                where=f"localize.generate.inception = {weights or 'fetched by torch-fidelity'}",
                mend="set it to the file of weights, or localize.generate.fid=off",
            ) from error
        self._device = torch.device(device)
        self._model.to(self._device)

    @torch.no_grad()
    def image_features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Pool features: float64 (n, 2048).

        Args:
            images: uint8, (height, width, 3) each; sizes may differ. The extractor resizes them.
        """
        parts, start = [], 0
        while start < len(images):
            end = start + 1
            while (
                end < min(len(images), start + BATCH) and images[end].shape == images[start].shape
            ):
                end += 1
            pixels = torch.from_numpy(np.stack(images[start:end])).permute(0, 3, 1, 2)
            (found,) = self._model(pixels.to(self._device))
            parts.append(found.double().cpu().numpy())
            start = end
        return np.concatenate(parts)
