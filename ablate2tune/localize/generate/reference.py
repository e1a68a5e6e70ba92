"""What the pictures of pairs are measured by: CLIP score, and distances to real pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.clip import Clip, clip_scores
from ablate2tune.localize.generate.frechet import Gaussian, fit, frechet_distance
from ablate2tune.localize.generate.inception import Inception
from ablate2tune.localize.generate.pairs import Pair

FID, FRECHET_CLIP = "fid", "frechet_clip"
READ_AT_ONCE = 64
"""Real pictures in memory at once."""


class FeatureExtractor(Protocol):
    """From pictures to features."""

    def image_features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Float64 (n, features)."""
        ...


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

    def scores(self, captions: Sequence[str], features: np.ndarray) -> np.ndarray:
        """CLIP score of each picture with its own caption, from the pictures' CLIP features."""
        return clip_scores(features, np.stack([self.texts[caption] for caption in captions]))

    def distances(self, batches: Iterable[list[np.ndarray]], where: str) -> dict[str, float]:
        """Fréchet distances of pictures to the real ones, by name.

        Args:
            batches: pictures, uint8 (height, width, 3) each.
            where: whose pictures they are, for messages.

        Raises:
            UserError: a feature is not finite.
        """
        features = _features(batches, self.extractors)
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
    real = {name: fit(x) for name, x in _features(_read(pairs), empty.extractors).items()}
    captions = list(dict.fromkeys(pair.text for pair in pairs))
    texts = dict(zip(captions, clip.text_features(captions), strict=True))
    return Reference(clip, inception, texts, real)


def _features(
    batches: Iterable[list[np.ndarray]], extractors: Mapping[str, FeatureExtractor]
) -> dict[str, np.ndarray]:
    """Features of pictures, (n, features), by the name of the distance."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in extractors}
    for images in batches:
        for name, extractor in extractors.items():
            parts[name].append(extractor.image_features(images))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _read(pairs: Sequence[Pair]) -> Iterator[list[np.ndarray]]:
    for start in range(0, len(pairs), READ_AT_ONCE):
        yield [read_picture(pair.path) for pair in pairs[start : start + READ_AT_ONCE]]
