"""A judge that was trained on no scene: an open-vocabulary detector and monocular depth.

OWLv2 (Minderer et al. 2023) is asked for every coloured kind in words; Depth Anything V2 (Yang et
al. 2024) gives the depth of what it finds, and Segment Anything, where the settings name it, the
pixels. They run through transformers with their published preprocessing. What such a judge is worth
on a recipe's objects is not known beforehand: its calibration on rendered scenes says it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import transformers
from pydantic import Field, field_validator
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DepthAnythingForDepthEstimation,
    DPTImageProcessorPil,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    SamImageProcessorPil,
    SamModel,
)

from ablate2tune.compare.judges.box_masks import box_masks
from ablate2tune.compare.judges.boxes import choose, own_pixels, relative_depth
from ablate2tune.compare.judges.judge_interface import JUDGED_AT_ONCE, JUDGES, JudgeConfig
from ablate2tune.compare.relation_reading import Detection
from ablate2tune.errors import UserError, did_you_mean, reason
from ablate2tune.scenes.captions import spoken
from ablate2tune.settings import Fraction, Mark, Positive

MODEL_TYPES = {"detector": "owlv2", "depth": "depth_anything", "masks": "sam"}
"""`model_type` of the configuration that each part must have."""
CANDIDATES = 100
"""Boxes per picture, the best by score, that compete (as many as COCO's evaluation counts)."""
UNUSED_WEIGHTS = ("mask_token",)
"""Weights that only training uses; a checkpoint may lack them."""
LOADING_ERRORS = (ImportError, OSError, ValueError, RuntimeError, SafetensorError, KeyError)


class ZeroShotConfig(JudgeConfig):
    """A judge that was trained on no scene: an open-vocabulary detector and monocular depth."""

    kind: Literal["zero-shot"] = "zero-shot"
    detector: Annotated[str, Mark.CONTENT] = "google/owlv2-base-patch16-ensemble"
    """An OWLv2 model: a local folder or a hub name."""
    depth: Annotated[str, Mark.CONTENT] = "depth-anything/Depth-Anything-V2-Small-hf"
    """A Depth Anything model, of relative or metric depth: a local folder or a hub name."""
    masks: Annotated[str | None, Mark.CONTENT] = None
    """A Segment Anything model for the pixels of each box: a local folder or a hub name. Needed
    where pictures have backgrounds of their own; without one, an object is what its box alone
    covers."""
    query: str = "a photo of {}"
    """What the detector is asked; {} stands for the object with its article ("a red ball")."""
    threshold: Fraction = 0.2
    """Lowest score of a detection."""
    overlap: Fraction = 0.6
    """Of two boxes with a higher intersection over union, whatever their labels, one counts."""
    min_area: Fraction = 0.01
    """Smallest box, as a fraction of the picture."""
    depth_range: Annotated[float, Field(gt=0)] = 3.0
    """Metres that the picture's range of inverse depth (2nd to 98th percentile) stands for; without
    meaning beside `masks`."""
    batch_size: Annotated[Positive, Mark.STEERS] = 4
    """Pictures per forward pass."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    @field_validator("query")
    @classmethod
    def _check_query(cls, query: str) -> str:
        if query.count("{}") != 1:
            raise ValueError("{} must stand in it once, for the object")
        return query


class _Seen(NamedTuple):
    """What the two models say of a batch."""

    boxes: np.ndarray
    """Left, top, right, bottom in pixels of the picture, (pictures, boxes, 4)."""
    scores: np.ndarray
    """(pictures, boxes, labels)."""
    inverse_depth: np.ndarray
    """Larger is nearer, (pictures, height, width)."""


class ZeroShotJudge:
    """OWLv2 for the objects, Depth Anything for their depth; a `Judge`.

    A detection's depth is relative to its picture (`boxes.relative_depth`), its score the
    detector's. Its mask is that of Segment Anything, and then `spread` is known, or else the part
    of its box that no other detection covers.
    """

    settings_type: ClassVar[type[JudgeConfig]] = ZeroShotConfig

    def __init__(
        self, settings: ZeroShotConfig, labels: Sequence[str], device: torch.device | str = "cpu"
    ):
        """Load the models and embed the labels, a colour and a kind each ("red ball").

        Raises:
            UserError: a model is missing, damaged, of another kind, or lacks weights or files; a
                query is longer than the detector reads; or there are no labels.
        """
        if not labels:
            raise UserError(
                "a zero-shot judge was not told what to look for", where="compare.judge"
            )
        self.check(settings, labels)
        self.config, self.labels = settings, list(labels)
        self._device = torch.device(device)
        self._detector = self._load(Owlv2ForObjectDetection, "detector")
        self._detector_images = _part(Owlv2ImageProcessorPil, settings.detector, "detector")
        self._depth = self._load(DepthAnythingForDepthEstimation, "depth")
        self._depth_images = _part(DPTImageProcessorPil, settings.depth, "depth")
        if settings.masks:
            self._masks = self._load(SamModel, "masks")
            self._mask_images = _part(SamImageProcessorPil, settings.masks, "masks")
        self._queries = self._embed(
            _part(AutoTokenizer, settings.detector, "detector", trust_remote_code=False)
        )

    @staticmethod
    def check(settings: ZeroShotConfig, labels: Sequence[str]) -> None:
        """Whether the models are there and of the right kind, from their configurations alone.

        Raises:
            UserError: a folder or hub name cannot be read, or holds a model of another kind.
        """
        for key, wanted in MODEL_TYPES.items():
            name = getattr(settings, key)
            if name is None:
                continue
            _check_name(name, key)
            held = _part(AutoConfig, name, key, trust_remote_code=False).model_type
            if held != wanted:
                raise UserError(
                    f"a model of type {held!r}, where {wanted!r} is needed", where=_where(key, name)
                )

    def describe(self) -> dict[str, Any]:
        """Kind, models, settings and labels."""
        return {
            "kind": "zero-shot",
            "settings": self.config.model_dump(mode="json", exclude={"kind"}),
            "labels": self.labels,
        }

    def detect(self, images: np.ndarray, batch_size: int = JUDGED_AT_ONCE) -> list[list[Detection]]:
        """Objects per image, largest box first; images are uint8, (n, height, width, 3).

        The forward passes are of `batch_size` images, or of the recipe's number, if it is smaller.
        """
        step = min(batch_size, self.config.batch_size)
        found = []
        for start in range(0, len(images), step):
            pictures = images[start : start + step]
            seen = self._look(pictures)
            found += [self._detections(*one) for one in zip(pictures, *seen, strict=True)]
        return found

    def _detections(
        self, picture: np.ndarray, boxes: np.ndarray, scores: np.ndarray, inverse_depth: np.ndarray
    ) -> list[Detection]:
        height, width = inverse_depth.shape
        config = self.config
        best = np.argsort(-scores.max(axis=1), kind="stable")[:CANDIDATES]
        smallest = config.min_area * height * width
        chosen = choose(boxes[best], scores[best], config.threshold, config.overlap, smallest)
        depth = relative_depth(inverse_depth, config.depth_range)
        places = [choice.box for choice in chosen]
        own = own_pixels(places, height, width)
        masks = own
        if config.masks:
            seen = box_masks(self._masks, self._mask_images, picture, places)
            masks = [mask if mask.any() else box for mask, box in zip(seen, own, strict=True)]
        found = []
        for (box, label, score, second), mask in zip(chosen, masks, strict=True):
            low, middle, high = (float(d) for d in np.percentile(depth[mask], (10, 50, 90)))
            spread = high - low if config.masks else None
            other = (self.labels[second[0]], second[1]) if second else None
            found.append(Detection(self.labels[label], box, mask, middle, score, other, spread))
        return sorted(found, key=lambda d: -(d.box[2] - d.box[0]) * (d.box[3] - d.box[1]))

    @torch.no_grad()
    def _look(self, images: np.ndarray) -> _Seen:
        pictures = list(images)
        height, width = images.shape[1:3]
        feature_map, _ = self._detector.image_embedder(
            self._pixels(self._detector_images, pictures)
        )
        tokens = feature_map.flatten(1, 2)
        queries = self._queries.expand(len(pictures), -1, -1)
        logits = self._detector.class_predictor(tokens, queries)[0].float().sigmoid()
        centres = self._detector.box_predictor(tokens, feature_map).float().cpu().numpy()
        depth = self._depth(self._pixels(self._depth_images, pictures)).predicted_depth.float()
        depth = nn.functional.interpolate(
            depth[:, None], size=(height, width), mode="bicubic", align_corners=False
        )[:, 0]
        if self._depth.config.depth_estimation_type == "metric":
            depth = 1 / depth.clamp(min=1e-3)
        boxes = _in_pixels(centres, height, width)
        return _Seen(boxes, logits.cpu().numpy(), depth.cpu().double().numpy())

    def _pixels(self, processor: Any, pictures: list[np.ndarray]) -> Tensor:
        pixels = processor(images=pictures, return_tensors="pt", input_data_format="channels_last")
        return pixels["pixel_values"].to(self._device, getattr(torch, self.config.dtype))

    @torch.no_grad()
    def _embed(self, tokenizer: Any) -> Tensor:
        """The labels' embeddings, (1, labels, width)."""
        texts = [self.config.query.format(spoken(label)) for label in self.labels]
        limit = self._detector.config.text_config.max_position_embeddings
        longest = max(texts, key=lambda text: len(tokenizer(text)["input_ids"]))
        if len(tokenizer(longest)["input_ids"]) > limit:
            raise UserError(
                f"{longest!r} has more than the {limit} tokens that the detector reads",
                where="compare.judge.query",
                mend="write a shorter one",
            )
        tokens = tokenizer(texts, padding="max_length", max_length=limit, return_tensors="pt")
        embedded = self._detector.owlv2.get_text_features(
            input_ids=tokens["input_ids"].to(self._device),
            attention_mask=tokens["attention_mask"].to(self._device),
        )
        return embedded.pooler_output[None]

    def _load(self, kind: Any, key: str) -> Any:
        name = getattr(self.config, key)
        model, report = _part(
            kind,
            name,
            key,
            use_safetensors=True,
            dtype=getattr(torch, self.config.dtype),
            output_loading_info=True,
        )
        missing = sorted(k for k in report["missing_keys"] if not k.endswith(UNUSED_WEIGHTS))
        if missing:
            raise UserError(
                f"{len(missing)} weights are missing, {missing[0]} first",
                where=_where(key, name),
                mend="fetch the model again",
            )
        return model.eval().requires_grad_(False).to(self._device)


def _check_name(name: str, key: str) -> None:
    """Refuse what is no folder with a configuration and no hub name ("owner/name")."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError("holds no config.json", where=_where(key, name))
        return
    hub = name.count("/") == 1 and not name.startswith((".", "/")) and not folder.parent.is_dir()
    if not hub:
        near = [str(p) for p in folder.parent.glob("*")] if folder.parent.is_dir() else []
        raise UserError(
            "no such folder, and no hub name (owner/name)",
            where=_where(key, name),
            mend=did_you_mean(name, near),
        )


def _part(kind: Any, name: str, key: str, **options: Any) -> Any:
    transformers.utils.logging.disable_progress_bar()
    try:
        return kind.from_pretrained(name, **options)
    except LOADING_ERRORS as error:
        raise UserError(f"cannot load it ({reason(error)})", where=_where(key, name)) from error


def _in_pixels(centres: np.ndarray, height: int, width: int) -> np.ndarray:
    """Corners in pixels, inside the picture, from OWLv2's centre, width and height.

    OWLv2 pads a picture at the right and below to a square; its numbers are fractions of that.
    """
    middle, half = centres[..., :2], centres[..., 2:] / 2
    corners = np.concatenate([middle - half, middle + half], axis=-1) * max(height, width)
    return corners.clip(0, [width, height, width, height])


def _where(key: str, name: str) -> str:
    return f"compare.judge.{key} = {name}"


JUDGES.add("zero-shot", ZeroShotJudge)
