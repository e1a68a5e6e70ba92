"""Contrasts of rendered scenes: the foil reverses the relation, the control foil a colour."""

from collections.abc import Sequence
from pathlib import Path

from ablate2tune.contrasts.contrast import Contrast, Contrasts, Role, Span
from ablate2tune.contrasts.reading import MAKERS, Maker
from ablate2tune.errors import UserError
from ablate2tune.scenes.checking.claims import CAMERA_FRAME, OWN_FRAME
from ablate2tune.scenes.dataset.records import SceneRecord, index_files, read_dataset
from ablate2tune.scenes.vocabulary import CONTRAST

FOILS: dict[Role, str] = {"target": "spatial relations", "control": "colours"}
FACTS = ("relation", "subject", "subject_colour", "object", "object_colour")


def scene_contrasts(records: Sequence[SceneRecord]) -> Contrasts:
    """The contrasts of scenes, one each, clustered by contrast group.

    Raises:
        UserError: a caption does not state its scene's relation.
    """
    return Contrasts([_contrast(record) for record in records])


def caption_spans(text: str, relation: str) -> dict[str, Span]:
    """Where the phrases of a plain caption "SUBJECT RELATION OBJECT" are.

    >>> caption_spans("a cat behind a red chair", "behind")
    {'relation': (6, 12), 'subject': (0, 5), 'object': (13, 24)}

    Args:
        text: the caption; a point of view at its end belongs to none of them.
        relation: as the caption words it; "between" has a second object, `third`.

    Raises:
        UserError: the caption does not state the relation.
    """
    claim = OWN_FRAME.sub("", text.removesuffix(CAMERA_FRAME))
    before, found, after = claim.partition(f" {relation} ")
    if not found:
        raise UserError(f"does not state {relation!r}", where=f"caption {text!r}")
    start = len(before) + 1
    end = start + len(relation)
    object_, *third = after.split(" and ", 1) if relation == "between" else [after]
    spans = {
        "relation": (start, end),
        "subject": (0, len(before)),
        "object": (end + 1, end + 1 + len(object_)),
    }
    if third:
        spans["third"] = len(claim) - len(third[0]), len(claim)
    return spans


def _contrast(record: SceneRecord) -> Contrast:
    texts: dict[Role, str] = {
        "true": record.text,
        "target": record.foil,
        "control": record.foil_colour,
    }
    relation = record.relation
    opposite = record.more.get("contrast") or CONTRAST.get(relation, relation)
    return Contrast(
        foils=FOILS,
        id=record.scene_id,
        cluster=record.group_id,
        payload=record.image_path,
        texts=texts,
        spans={
            role: caption_spans(text, opposite if role == "target" else relation)
            for role, text in texts.items()
        },
        split=record.split,
        facts={name: getattr(record, name) for name in FACTS},
    )


def _knows(folder: Path) -> bool:
    return all(path.is_file() for path in index_files(folder))


def _read(folder: Path) -> Contrasts:
    return scene_contrasts(read_dataset(folder))


MAKERS.add("scenes", Maker("rendered scenes (metadata.jsonl or shards)", _knows, _read))
