"""A judge that was trained on rendered scenes and knows their objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional
from transformers import SegformerForSemanticSegmentation

from ablate2tune import files
from ablate2tune.compare.judges.judge_interface import (
    JUDGED_AT_ONCE,
    JUDGES,
    JudgeConfig,
    check_label,
)
from ablate2tune.compare.relation_reading import Detection
from ablate2tune.errors import UserError, reason
from ablate2tune.settings import Mark

SCHEMA = "ablate2tune/judge/1"
MEND = (
    "set compare.judge to a judge's folder (the embedded one is checkpoints/testbed-judge) "
    "or to the settings of a zero-shot judge (docs/judges.md)"
)


class TrainedConfig(JudgeConfig):
    """A trained judge; a recipe may state its folder alone."""

    kind: Literal["trained"] = "trained"
    folder: Annotated[Path, Mark.CONTENT]
    """Weights, and `judge.json`."""


class TrainedJudge:
    """A SegFormer (Xie et al. 2021) whose last output channel is depth.

    Channel 0 is background, the following ones are the labels in the model's `id2label`, the last
    one, named "depth", is depth in normalised units: metres = value * depth_scale + depth_offset,
    both read from the folder's `judge.json`. The smallest object it reports, `min_area`, is a
    fraction of the image.
    """

    settings_type: ClassVar[type[JudgeConfig]] = TrainedConfig

    def __init__(
        self,
        settings: TrainedConfig,
        labels: Sequence[str] = (),
        device: torch.device | str = "cpu",
    ):
        """Load a judge; it finds what it was trained on, whatever `labels` says.

        Raises:
            UserError: the folder is missing, is not a judge, or its channels are not as above.
        """
        self.folder = folder = settings.folder
        self.settings = _settings(folder)
        try:
            model = SegformerForSemanticSegmentation.from_pretrained(folder)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"cannot load the judge ({reason(error)})", where=str(folder)
            ) from error
        self.labels: Sequence[str] = _labels(folder)
        """Colour and kind of every object it knows."""
        self._device = torch.device(device)
        self._model: nn.Module = model.eval().requires_grad_(False)
        nn.Module.to(self._model, self._device)

    @staticmethod
    def check(settings: TrainedConfig, labels: Sequence[str]) -> None:
        """Refuse a folder that is missing, holds no judge or one that does not know the labels.

        Raises:
            UserError: for all of these.
        """
        _settings(settings.folder)
        known = _labels(settings.folder)
        for label in labels:
            check_label(known, label)

    def describe(self) -> dict[str, Any]:
        """Kind, folder and settings, without the schema."""
        settings = {key: value for key, value in self.settings.items() if key != "schema"}
        return {"kind": "trained", "folder": str(self.folder), "settings": settings}

    def detect(self, images: np.ndarray, batch_size: int = JUDGED_AT_ONCE) -> list[list[Detection]]:
        """Objects per image, largest first; a colour with several parts is found several times.

        Images are uint8, (n, height, width, 3).
        """
        found = []
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))
            pixels = pixels.permute(0, 3, 1, 2).to(self._device, torch.float32) / 127.5 - 1
            logits = self._logits(pixels)
            classes = logits[:, :-1].softmax(dim=1).cpu().numpy()
            depth = logits[:, -1] * self.settings["depth_scale"] + self.settings["depth_offset"]
            found += [
                detections(probability, metres, self.labels, self.settings["min_area"])
                for probability, metres in zip(classes, depth.cpu().numpy(), strict=True)
            ]
        return found

    @torch.no_grad()
    def _logits(self, pixels: Tensor) -> Tensor:
        """All channels at the images' own size, (n, channels, height, width)."""
        logits = self._model(pixel_values=pixels).logits
        return functional.interpolate(
            logits, size=pixels.shape[-2:], mode="bilinear", align_corners=False
        )


def detections(
    probability: np.ndarray, depth: np.ndarray, labels: Sequence[str], min_area: float
) -> list[Detection]:
    """The connected parts of each colour that cover `min_area` of the image, largest first.

    A connected part of one colour is one object, of the kind that is the most probable over all
    its pixels: what looks like a ball above and like a cylinder below is not two things.

    Args:
        probability: (1 + labels, height, width), channel 0 background.
        depth: metres, (height, width).
        labels: names of the channels after the background, the colour first ("red ball").
        min_area: fraction of the image.
    """
    colours: dict[str, list[int]] = {}
    for channel, label in enumerate(labels, start=1):
        colours.setdefault(label.split()[0], []).append(channel)
    by_colour = np.stack(
        [probability[0], *(probability[of].sum(axis=0) for of in colours.values())]
    )
    winner = by_colour.argmax(axis=0)
    found = []
    for number, channels in enumerate(colours.values(), start=1):
        if (winner == number).mean() < min_area:
            continue
        parts = np.zeros(winner.shape, np.int32)
        # Diagonal neighbours are connected.
        ndimage.label(winner == number, structure=np.ones((3, 3)), output=parts)
        for part, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
            mask = parts == part
            if mask.mean() >= min_area:
                scores = probability[channels][:, mask].mean(axis=1)
                best = int(scores.argmax())
                label, score = labels[channels[best] - 1], float(scores[best])
                left, right = float(columns.start), float(columns.stop)
                box = (left, float(rows.start), right, float(rows.stop))
                found.append(Detection(label, box, mask, float(np.median(depth[mask])), score))
    return sorted(found, key=lambda detection: -detection.area)


def _settings(folder: Path) -> dict[str, Any]:
    """A judge folder's judge.json, checked."""
    if not folder.is_dir():
        raise UserError("no such judge", where=str(folder), mend=MEND)
    settings = files.read_json(folder / "judge.json")
    if settings.get("schema") != SCHEMA:
        raise UserError(f"not a judge of schema {SCHEMA}", where=str(folder / "judge.json"))
    for key in ("depth_scale", "depth_offset", "min_area"):
        if not isinstance(settings.get(key), int | float):
            raise UserError(f"{key} is missing or no number", where=str(folder / "judge.json"))
    return settings


def _labels(folder: Path) -> list[str]:
    """What its channels between background and depth stand for."""
    by_channel = files.read_json(folder / "config.json").get("id2label") or {}
    names = [by_channel[channel] for channel in sorted(by_channel, key=int)]
    if len(names) < 3 or names[0] != "background" or names[-1] != "depth":
        raise UserError(
            f"its channels must be background, the labels, depth; they are {', '.join(names)}",
            where=str(folder / "config.json"),
        )
    return names[1:-1]


JUDGES.add("trained", TrainedJudge)
