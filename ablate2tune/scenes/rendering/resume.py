"""What a data set's folder already holds, and whether it is whole."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from ablate2tune import files
from ablate2tune.errors import UserError

SCENE_SCHEMA = "ablate2tune/scene/1"
PICTURES = ("images", "masks", "depth")
FOLDERS = (*PICTURES, "sidecars")
TWINS = "ab"


class GroupState(NamedTuple):
    """One group's sidecars, if all its files are whole, and what is damaged, if anything is."""

    sidecars: list[dict[str, Any]] | None
    damage: str | None = None


def group_state(folder: Path, index: int) -> GroupState:
    """Read a group back; pictures are compared with the checksums in their sidecars.

    A scene without a sidecar is unfinished, which is no damage: the sidecar is written last.
    """
    sidecars = []
    for letter in TWINS:
        scene_id = f"g{index:06d}-{letter}"
        path = folder / "sidecars" / f"{scene_id}.json"
        if not path.exists():
            return GroupState(None)
        sidecar = _sidecar(path, scene_id)
        if sidecar is None:
            return GroupState(None, f"sidecars/{path.name} is damaged")
        for kind in PICTURES:
            picture = folder / kind / f"{scene_id}.png"
            if not picture.exists():
                return GroupState(None, f"{kind}/{picture.name} is missing")
            digest = hashlib.sha256(picture.read_bytes()).hexdigest()
            if digest != sidecar["sha256"].get(kind):
                return GroupState(None, f"{kind}/{picture.name} is damaged")
        sidecars.append(sidecar)
    if sidecars[0]["attempt"] != sidecars[1]["attempt"]:
        # A crash fell between the two renders of a retry.
        return GroupState(None)
    return GroupState(sidecars)


def remove_group(folder: Path, group_id: str) -> None:
    """Delete every file of a group.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        for kind in FOLDERS:
            for path in (folder / kind).glob(f"{group_id}-*"):
                path.unlink()
    except OSError as error:
        raise files.unwritable(folder, error) from error


def _sidecar(path: Path, scene_id: str) -> dict[str, Any] | None:
    try:
        held = files.read_json(path)
    except (UserError, UnicodeDecodeError):
        return None
    keys = {"attempt": int, "sha256": dict, "record": dict, "made_with": dict, "rejections": list}
    if not isinstance(held, dict) or held.get("schema") != SCENE_SCHEMA:
        return None
    whole = all(isinstance(held.get(key), kind) for key, kind in keys.items())
    return held if whole and held.get("scene_id") == scene_id else None
