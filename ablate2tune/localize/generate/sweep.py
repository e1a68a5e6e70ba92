"""The sweep of probe `generate`: pictures and rows of every condition, resumable."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate2tune.ablation import Means
from ablate2tune.compare.judges import Judge
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.examples import Example, folder_of
from ablate2tune.localize.generate.measures import FRECHET_CLIP, Reference, judged_figures
from ablate2tune.localize.generate.rows import Row, Rows, condition_of
from ablate2tune.localize.localize_config import GenerateConfig
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.sampling import ablated_sampling
from ablate2tune.models import Denoiser, Progress
from ablate2tune.pictures import (
    Picture,
    is_made,
    read_images,
    remove_left_overs,
    sample_batch,
    write_batch,
)

SCHEMA = "ablate2tune/generated/2"
DISTANCE_SCHEMA = "ablate2tune/distance/1"


class ObstacleError(Exception):
    """A condition cannot be ablated while the pipeline samples."""


class Tasks(NamedTuple):
    """What is drawn and how it is measured."""

    scenes: Sequence[Example]
    judge: Judge | None
    """Judges the scenes."""
    pairs: Sequence[Example]
    reference: Reference | None
    """Measures the pairs."""

    @property
    def examples(self) -> list[Example]:
        """All of them, scenes first."""
        return [*self.scenes, *self.pairs]


class GenerateSweep:
    """Draws every example under every condition and measures it; what is on disk is kept.

    Under a launcher each condition belongs to one process.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        tasks: Tasks,
        config: GenerateConfig,
        folder: Path,
        processes: Processes,
        on_progress: Progress | None = None,
    ):
        """Read what an earlier run left.

        Args:
            denoiser: the model.
            tasks: what is drawn and measured.
            config: sampling settings.
            folder: of the stage; pictures go to `images/`, rows to results.jsonl and
                distances.jsonl.
            processes: of the launcher.
            on_progress: told (pictures done, pictures in all).
        """
        self._denoiser, self._tasks, self._config, self._folder = denoiser, tasks, config, folder
        self.processes = processes
        self.means = Means()
        """For mode mean; whoever runs a condition has calibrated them."""
        self.timesteps: Sequence[float] = []
        """Of the calibrated noise levels."""
        self._paths = [folder / "results.jsonl", folder / "distances.jsonl"]
        self.results = self._open(self._paths[0], _example_key)
        self.distances = self._open(self._paths[1], condition_of)
        self._on_progress, self._done, self._planned = on_progress, 0, 0
        if self.processes.is_first:
            for images in folder.glob("images/*/"):
                remove_left_overs(images)

    def _open(self, path: Path, key: Any) -> Rows:
        return self.processes.open(Rows(path, key, self.processes.own_file(path)), path)

    def plan(self, conditions: int) -> None:
        """Say how many conditions are still to come, for the progress bar."""
        self._planned = self._done + conditions * len(self._tasks.examples)

    def run(self, conditions: Sequence[Condition]) -> dict[str, str]:
        """Draw and measure conditions.

        Returns:
            Addresses of those that cannot be ablated while sampling, with the reason.
        """
        rows: list[Row] = []
        distances: list[Row] = []
        failed: list[tuple[str, str]] = []
        for number, condition in enumerate(conditions):
            if not self.processes.owns(number):
                continue
            try:
                rows += self._judged(condition)
                distances += self._compared(condition, rows)
            except ObstacleError as error:
                failed.append((condition.addresses[0], str(error)))
        self.processes.exchange(self.results, rows)
        self.processes.exchange(self.distances, distances)
        return dict(self.processes.gather(failed))

    def row(self, example: Example, condition: Condition) -> Row:
        """The row of one picture."""
        return self.results[condition, example.name]

    def finish(self, conditions: Sequence[Condition]) -> None:
        """Put the rows on disk in the order of conditions and examples."""
        if self.processes.is_first:
            place = {condition: index for index, condition in enumerate(conditions)}
            names = {example.name: i for i, example in enumerate(self._tasks.examples)}
            last = len(place)
            self.results.put_in_order(
                lambda row: (place.get(condition_of(row), last), names[row["example"]])
            )
            self.distances.put_in_order(lambda row: place.get(condition_of(row), last))
        for path in self._paths:
            self.processes.close(path)

    def _judged(self, condition: Condition) -> list[Row]:
        """Draw the scenes and judge them, batch by batch."""
        judge, new = self._tasks.judge, []
        for batch in self._batches(self._tasks.scenes):
            assert judge is not None, "scenes are drawn to be judged"
            began = time.perf_counter()
            if not self._complete(condition, batch):
                images = self._draw(condition, batch)
                figures = judged_figures(judge, batch, images)
                new += self._add(condition, batch, images, figures, began)
            self._report(len(batch))
        return new

    def _compared(self, condition: Condition, rows: list[Row]) -> list[Row]:
        """Draw the pairs, score them and measure their distances; `rows` takes the new rows."""
        reference = self._tasks.reference
        if reference is None:
            return []
        parts: dict[str, list[np.ndarray]] = {name: [] for name in reference.extractors}
        far = condition in self.distances
        for batch in self._batches(self._tasks.pairs):
            began = time.perf_counter()
            complete = self._complete(condition, batch)
            if not (complete and far):
                images = self._draw(condition, batch)
                features = {
                    name: extractor.image_features(list(images))
                    for name, extractor in reference.extractors.items()
                }
                for name, found in features.items():
                    parts[name].append(found)
                scores = reference.scores(batch, features[FRECHET_CLIP])
                figures = [{"clip_score": score} for score in scores]
                rows += self._add(condition, batch, images, figures, began)
            self._report(len(batch))
        if far:
            return []
        features = {name: np.concatenate(found) for name, found in parts.items()}
        where = folder_of(condition)
        return self.distances.add(
            [
                {
                    "schema": DISTANCE_SCHEMA,
                    "condition": list(condition.addresses),
                    "mode": condition.mode,
                    "probe": "generate",
                    "generated": len(self._tasks.pairs),
                    "real": reference.real[FRECHET_CLIP].n,
                    **reference.distances(features, where),
                }
            ]
        )

    def _batches(self, examples: Sequence[Example]) -> list[Sequence[Example]]:
        size = self._config.batch_size
        return [examples[start : start + size] for start in range(0, len(examples), size)]

    def _complete(self, condition: Condition, batch: Sequence[Example]) -> bool:
        return all((condition, example.name) in self.results for example in batch)

    def _draw(self, condition: Condition, batch: Sequence[Example]) -> np.ndarray:
        """The pictures of a batch, sampled unless they are on disk."""
        pictures = [example.picture(self._folder / "images", condition) for example in batch]
        if not is_made(self._denoiser, pictures):
            write_batch(pictures, self._sample(condition, pictures))
        return read_images([picture.path for picture in pictures])

    def _sample(self, condition: Condition, pictures: Sequence[Picture]) -> np.ndarray:
        steps, scale = self._config.steps, self._config.true_cfg_scale
        try:
            with ablated_sampling(self._denoiser, condition, self.means, self.timesteps):
                return sample_batch(self._denoiser, pictures, steps, scale)
        except UserError as error:
            if not condition.addresses:
                raise
            raise ObstacleError(str(error)) from error

    def _add(
        self,
        condition: Condition,
        batch: Sequence[Example],
        images: np.ndarray,
        figures: Sequence[dict[str, Any]],
        began: float,
    ) -> list[Row]:
        seconds = round((time.perf_counter() - began) / len(batch), 6)
        return self.results.add(
            [
                {
                    "schema": SCHEMA,
                    "condition": list(condition.addresses),
                    "mode": condition.mode,
                    "probe": "generate",
                    "example": example.name,
                    "group": example.group,
                    "image": f"images/{folder_of(condition)}/{example.name}.png",
                    **found,
                    "flat": bool((image == image[0, 0]).all()),
                    "seconds": seconds,
                }
                for example, image, found in zip(batch, images, figures, strict=True)
            ]
        )

    def _report(self, pictures: int) -> None:
        self._done += pictures
        if self._on_progress:
            self._on_progress(self._done, max(self._done, self._planned))


def _example_key(row: Row) -> tuple[Condition, str]:
    return condition_of(row), row["example"]
