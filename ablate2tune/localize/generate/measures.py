"""What pictures are measured by: a judge's verdicts, CLIP score, and distances to real pictures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ablate2tune.compare.judges import JUDGED_AT_ONCE, Judge
from ablate2tune.compare.verdicts import give_verdict
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.clip import Clip, clip_scores
from ablate2tune.localize.generate.examples import Example
from ablate2tune.localize.generate.frechet import Gaussian, fit, frechet_distance
from ablate2tune.localize.generate.inception import Inception
from ablate2tune.localize.generate.pairs import Pair, read_picture

FID, FRECHET_CLIP = "fid", "frechet_clip"
READ_AT_ONCE = 64
"""Real pictures in memory at once."""


class FeatureExtractor(Protocol):
    """From pictures to features."""

    def image_features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Float64 (n, features)."""
        ...


def judged_figures(
    judge: Judge, examples: Sequence[Example], images: np.ndarray
) -> list[dict[str, Any]]:
    """Verdicts on the pictures of examples that have a prompt, as a row holds them."""
    found = judge.detect(images, JUDGED_AT_ONCE)
    verdicts = [
        give_verdict(example.prompt, detections)
        for example, detections in zip(examples, found, strict=True)
        if example.prompt
    ]
    return [
        {"target": bool(v.spatial), "objects": v.objects, "relation_read": v.relation_read}
        for v in verdicts
    ]


class Reference(NamedTuple):
    """What the pictures of pairs are compared with."""

    clip: Clip
    inception: Inception | None
    texts: Mapping[str, np.ndarray]
    """CLIP features of each caption."""
    real: Mapping[str, Gaussian]
    """Of the real pictures, by the name of the distance: "frechet_clip" and, perhaps, "fid"."""

    @property
    def extractors(self) -> dict[str, FeatureExtractor]:
        """The features of each distance, by its name."""
        found: dict[str, FeatureExtractor] = {FRECHET_CLIP: self.clip}
        return found | ({FID: self.inception} if self.inception else {})

    def scores(self, examples: Sequence[Example], features: np.ndarray) -> list[float]:
        """CLIP score of each picture with its own caption, from the pictures' CLIP features."""
        texts = np.stack([self.texts[example.text] for example in examples])
        return [float(score) for score in clip_scores(features, texts)]

    def distances(self, features: Mapping[str, np.ndarray], where: str) -> dict[str, float]:
        """Fréchet distances of pictures to the real ones.

        Args:
            features: (n, features), by the name of the distance.
            where: whose pictures they are, for messages.

        Raises:
            UserError: a feature is not finite.
        """
        try:
            fitted = {name: fit(values) for name, values in features.items()}
        except ValueError as error:
            raise UserError(f"no distance can be measured: {error}", where=where) from error
        return {name: frechet_distance(self.real[name], of) for name, of in fitted.items()}


def reference(pairs: Sequence[Pair], clip: Clip, inception: Inception | None) -> Reference:
    """Features of real pictures and their captions.

    Raises:
        UserError: a picture is missing or damaged.
    """
    empty = Reference(clip, inception, {}, {})
    parts: dict[str, list[np.ndarray]] = {name: [] for name in empty.extractors}
    for images in _read(pairs):
        for name, extractor in empty.extractors.items():
            parts[name].append(extractor.image_features(images))
    real = {name: fit(np.concatenate(found)) for name, found in parts.items()}
    captions = list(dict.fromkeys(pair.text for pair in pairs))
    texts = dict(zip(captions, clip.text_features(captions), strict=True))
    return Reference(clip, inception, texts, real)


def _read(pairs: Sequence[Pair]) -> Iterator[list[np.ndarray]]:
    for start in range(0, len(pairs), READ_AT_ONCE):
        yield [read_picture(pair.path) for pair in pairs[start : start + READ_AT_ONCE]]
