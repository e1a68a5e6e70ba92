"""The probe generate: sample with a component ablated, judge the pictures, compare distributions.

The slow and literal way, and the one that published per-layer tables took (FID and CLIP score per
layer of PixArt-alpha, Moslem-Sh21/Diffusion-Transformer-Ablations). Every condition draws the same
captions from the same noise: those of contrasts are judged, those of pairs give CLIP scores and
distances to the real pictures.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ablate2tune.compare.judges import JUDGED_AT_ONCE
from ablate2tune.compare.verdicts import give_verdict
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.clip import Clip
from ablate2tune.localize.generate.drawn_examples import (
    Example,
    check_judgeable,
    folder_of,
    pair_examples,
    scene_examples,
)
from ablate2tune.localize.generate.inception import INSTALL, Inception, installed
from ablate2tune.localize.generate.pairs import read_pairs
from ablate2tune.localize.generate.reference import FID, FRECHET_CLIP, Reference, reference
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.results import Values
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.probes.generate_config import GenerateConfig
from ablate2tune.localize.probes.probe import PROBES, Needs, Probe, Setting
from ablate2tune.pictures import made_batch

SCORE = "clip_score"


def _rate(name: str, title: str, head: str, **more: Any) -> Figure:
    return Figure(name, title, head, rate=True, everywhere=False, **more)


def _distance(name: str, title: str, head: str) -> Figure:
    return Figure(
        name, title, head, "{:.1f}",
        ranks=True, higher_is_better=False, of_set=True, tested_by=SCORE,
    )  # fmt: skip


class GenerateProbe(Probe[GenerateConfig]):
    """What sampled pictures lose without a component."""

    name = "generate"
    config = GenerateConfig
    figures = (
        _rate("target", "pictures with relation and objects right", "relation", role="target",
              ranks=True),
        _rate("objects", "pictures with both objects right", "objects", role="control",
              critical=lambda base, lost: lost["low"] > base / 2,
              collapse="fewer than half the pictures that showed both objects still do"),
        _rate("relation_given_objects", "relation right, given the objects", "rel.|obj.",
              partial=True),
        Figure(SCORE, "CLIP score (cosine)", "CLIP", everywhere=False),
        _distance(FID, "FID", "FID"),
        _distance(FRECHET_CLIP, "Fréchet distance on CLIP features", "Fréchet CLIP"),
        Figure("flat", "pictures of one colour", higher_is_better=False,
               critical=lambda _, lost: lost["value"] > 0.5,
               collapse="most pictures are of one colour"),
    )  # fmt: skip
    unit = "pictures"
    version = 2
    title = "pictures drawn without a component"

    def __init__(self, setting: Setting[GenerateConfig]):
        """Read the pairs and load what they are measured by.

        Raises:
            UserError: a picture, CLIP or InceptionV3 is missing, or the judge cannot read the
                contrasts.
        """
        super().__init__(setting)
        config, judging = setting.config, setting.judging
        self.judge = judging.judge if judging else None
        measured = setting.split.measured
        if self.judge:
            check_judgeable(self.judge, measured, "localize.probe = generate")
        self.pairs = (
            read_pairs(config.pairs, config.pair_count, setting.seed) if config.pairs else []
        )
        self.examples: list[Example] = [
            *scene_examples(measured, range(config.seeds), setting.seed),
            *pair_examples(self.pairs, config.seeds, setting.seed),
        ]
        given = {"flat"}
        given |= {"target", "objects", "relation_given_objects"} if self.judge else set()
        given |= {SCORE, *self._reference.extractors} if self.pairs else set()
        self.figures = tuple(figure for figure in type(self).figures if figure.name in given)

    @classmethod
    def needs(cls, config: GenerateConfig, judged: bool) -> Needs:
        """Captions of contrasts where there is a judge of their pictures; or pairs alone."""
        if not (judged or config.pairs):
            raise UserError(
                "there is nothing to measure pictures by",
                where="localize.probe = generate",
                mend="set compare.judge to a judge's folder, or localize.generate.pairs to a "
                "folder of pictures with captions",
            )
        return Needs(config.groups if judged else 0, "localize.generate.groups", judged)

    @cached_property
    def _reference(self) -> Reference:
        config, device = self.setting.config, self.denoiser.device
        wanted = config.fid == "on" or (config.fid == "auto" and installed())
        inception = Inception(config.inception, device) if wanted else None
        return reference(self.pairs, Clip(config.clip, device), inception)

    @property
    def ids(self) -> list[str]:
        """Names of the captions' pictures."""
        return [example.name for example in self.examples]

    @property
    def groups(self) -> list[str]:
        """The contrast group of a scene; a pair is its own."""
        return [example.group for example in self.examples]

    @property
    def batch(self) -> int:
        """Pictures per call of the pipeline."""
        return self.setting.config.batch_size

    def blocks_below(self, top: int) -> int:
        """The best blocks, every one or none, as `sublayers` says."""
        return {"none": 0, "top": top, "all": 10**6}[self.setting.config.sublayers]

    def identity(self) -> dict[str, Any]:
        """All that pictures and rows depend on."""
        return {**super().identity(), "fid": bool(self.pairs and self._reference.inception)}

    def measure(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """Draw some examples under one condition, unless their pictures are there, and measure."""
        (condition,) = conditions
        examples = [self.examples[index] for index in chunk]
        images = self._images(condition, examples)
        found = {f.name: np.full(len(chunk), np.nan) for f in self.figures if not f.of_set}
        found["flat"] = np.array([(image == image[0, 0]).all() for image in images], float)
        scenes = [place for place, example in enumerate(examples) if example.prompt]
        if scenes and self.judge:
            seen = self.judge.detect(images[scenes], JUDGED_AT_ONCE)
            for place, detections in zip(scenes, seen, strict=True):
                prompt = examples[place].prompt
                assert prompt is not None, "scenes have prompts"
                verdict = give_verdict(prompt, detections)
                found["target"][place] = bool(verdict.spatial)
                found["objects"][place] = verdict.objects
                if verdict.objects:
                    found["relation_given_objects"][place] = bool(verdict.spatial)
        pairs = [place for place, example in enumerate(examples) if not example.prompt]
        if pairs:
            features = self._reference.clip.image_features(list(images[pairs]))
            texts = [examples[place].text for place in pairs]
            found[SCORE][pairs] = self._reference.scores(texts, features)
        return {condition: found}

    def measure_set(self, condition: Condition) -> dict[str, float]:
        """Distances of the pairs' pictures to the real ones."""
        if not self.pairs:
            return {}
        pairs = [example for example in self.examples if not example.prompt]
        size = self.batch
        batches = (pairs[start : start + size] for start in range(0, len(pairs), size))
        images = (list(self._images(condition, batch)) for batch in batches)
        return self._reference.distances(images, folder_of(condition))

    def facts(self, condition: Condition, chunk: Sequence[int]) -> list[dict[str, Any]]:
        """Where the pictures are."""
        folder = folder_of(condition)
        return [{"image": f"images/{folder}/{self.examples[i].name}.png"} for i in chunk]

    def _images(self, condition: Condition, batch: Sequence[Example]) -> np.ndarray:
        pictures = [e.picture(self.setting.folder / "images", condition) for e in batch]
        config, within = self.setting.config, self.setting.sampling.under(condition)
        return made_batch(self.denoiser, pictures, config.steps, config.true_cfg_scale, within)

    def summary(self) -> dict[str, Any]:
        """How many pictures there were, and who judged them."""
        judging = self.setting.judging
        scenes = sum(example.prompt is not None for example in self.examples)
        return {
            "pictures": {
                "scenes": scenes,
                "pairs": len(self.examples) - scenes,
                "real": len(self.pairs),
            },
            "judge": judging.as_dict() if judging else None,
        }

    def notes(self) -> list[str]:
        """The judge's error, and what distances compare with."""
        judging, pictures = self.setting.judging, self.summary()["pictures"]
        lines = [judging.line()] if judging else []
        if self.pairs:
            lines.append(
                f"distances are of {pictures['pairs']} pictures to {pictures['real']} real ones; "
                "compare them at equal numbers only"
            )
            if not self._reference.inception:
                lines.append(f"FID was not measured; for it: {INSTALL}")
        return lines


PROBES.add(GenerateProbe.name, GenerateProbe)
