"""The independent check of a rendered set: is every caption true and every foil false?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.scenes.checking.claims import read_claim
from ablate2tune.scenes.checking.proof import Finding, decide
from ablate2tune.scenes.checking.proof_by_front import decide_by_front, read_pose
from ablate2tune.scenes.dataset.records import MEND, SceneRecord, load_depth, load_masks
from ablate2tune.scenes.layouts.geometry import Cloud, clouds

SCHEMA = "ablate2tune/evidence/1"
FOILS = ("foil", "foil_swapped", "foil_colour", "foil_object")
"""Captions that must be false; the second is in natural sets only."""


@dataclass(frozen=True)
class SceneEvidence:
    """What one picture says about its captions."""

    scene_id: str
    relation: str
    """The one that the caption asserts."""
    caption: Finding
    foils: dict[str, Finding]

    @property
    def wrong(self) -> bool:
        """Whether the picture speaks against its captions."""
        true_foil = any(finding.verdict == "confirmed" for finding in self.foils.values())
        return self.caption.verdict == "contradicted" or true_foil

    def as_dict(self) -> dict[str, Any]:
        """A JSON-able row."""
        return {
            "scene_id": self.scene_id,
            "relation": self.relation,
            "caption": self.caption._asdict(),
            "foils": {name: finding._asdict() for name, finding in self.foils.items()},
        }


@dataclass(frozen=True)
class Evidence:
    """The check of a whole set."""

    scenes: list[SceneEvidence]

    def counts(self) -> dict[str, dict[str, int]]:
        """Per relation: how many scenes and how many foils were decided how (see `COUNTED`).

        Keys are in the order of first appearance.
        """
        table: dict[str, Counter[str]] = {}
        for scene in self.scenes:
            row = table.setdefault(scene.relation, Counter())
            row[scene.caption.verdict] += 1
            for finding in scene.foils.values():
                row[_FOIL[finding.verdict]] += 1
        return {relation: {key: row[key] for key in COUNTED} for relation, row in table.items()}

    def as_dict(self) -> dict[str, Any]:
        """As in `evidence.json`."""
        return {
            "schema": SCHEMA,
            "relations": self.counts(),
            "scenes": [scene.as_dict() for scene in self.scenes],
        }

    def lines(self) -> list[str]:
        """A table for people."""
        heads = ("relation", *COUNTED)
        rows = [heads, *((r, *map(str, n.values())) for r, n in self.counts().items())]
        widths = [max(len(row[k]) for row in rows) for k in range(len(heads))]
        return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
                for row in rows]  # fmt: skip


COUNTED = (
    *("confirmed", "contradicted", "undecidable"),
    *("foils false", "foils true", "foils undecidable"),
)
_FOIL = {
    "confirmed": "foils true",
    "contradicted": "foils false",
    "undecidable": "foils undecidable",
}


def check_captions(records: Sequence[SceneRecord]) -> Evidence:
    """Decide every scene's caption and foils from its depth map, its mask and its camera.

    The sidecar gives the camera, which mask value is which object, and the foils' words; none of
    its measurements are read. For captions in an object's own frame it also gives that object's
    place and front, which no picture can prove.

    Raises:
        UserError: a picture or a sidecar is missing or damaged, or a caption states no relation.
    """
    return Evidence([check_scene(record) for record in records])


def check_scene(record: SceneRecord) -> SceneEvidence:
    """One scene of `check_captions`."""
    note = record.sidecar()
    try:
        objects, camera = note["objects"], note["camera"]
        values = {label: note["mask_values"][label] for label in objects}
        words: dict[str, Any] = note["record"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"the sidecar lacks {error}", where=str(record.sidecar_path), mend=MEND
        ) from error
    (mask,), (depth,) = load_masks([record]), load_depth([record])
    seen = clouds(mask, depth, camera, values)
    captions = {**{name: words[name] for name in FOILS if name in words}, "text": record.text}
    try:
        findings = {name: _judged(text, note, seen) for name, text in captions.items()}
    except KeyError as error:
        raise UserError(
            f"the sidecar lacks {error}", where=str(record.sidecar_path), mend=MEND
        ) from error
    except ValueError as error:
        raise UserError(str(error), where=str(record.sidecar_path)) from error
    caption = findings.pop("text")
    return SceneEvidence(record.scene_id, record.relation, caption, findings)


def _judged(text: str, note: Mapping[str, Any], seen: Mapping[str, Cloud]) -> Finding:
    claim = read_claim(text, note["objects"])
    if claim is None:
        return Finding("contradicted", "names an object that is not there")
    if claim.frame == "object":
        one, other = claim.labels
        pose = read_pose(note["objects"][other], note["camera"])
        return decide_by_front(claim.relation, seen.get(one), seen.get(other), pose)
    return decide(claim.relation, [seen.get(label) for label in claim.labels])


def write_evidence(evidence: Evidence, folder: Path) -> Path:
    """Write `evidence.json` into a data set's folder; returns its path."""
    path = folder / "evidence.json"
    files.write_json(path, evidence.as_dict())
    return path
