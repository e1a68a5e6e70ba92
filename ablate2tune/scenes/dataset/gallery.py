"""A self-contained HTML page that shows and filters a rendered data set."""

import base64
import json
from collections import Counter
from importlib.resources import files

from ablate2tune.scenes.dataset.records import SceneRecord

PLACE = "/*SCENES*/null"


def gallery_page(records: list[SceneRecord]) -> str:
    """The page: pictures and masks inside, filters by relation, object, rejection and slack.

    The filters are also read from the address: `gallery.html#relation=behind&object=cat`.

    `slack` of a scene is the smallest slack of its asserted relation, the one nearest to failing.
    """
    scenes = []
    for record in records:
        note = record.sidecar()
        own = note.get("record", {}).get("frame") == "object"
        slack = note["slack_own" if own else "slack"][note["relation_asserted"]]
        tightest = min(slack, key=slack.__getitem__)
        scenes.append({
            "id": record.scene_id,
            "text": record.text,
            "relation": record.relation,
            "split": record.split,
            "objects": {label: {"kind": o["kind"], "colour": o["colour"], "box": o["box"],
                                "visible": o["visible"]}
                        for label, o in note["objects"].items()},
            "true": note["relations_true"],
            "slack": slack[tightest],
            "tightest": tightest,
            "rejections": dict(Counter(note["rejections"])),
            "image": _inline(record.image_path.read_bytes()),
            "mask": _inline(record.mask_path.read_bytes()),
        })  # fmt: skip
    template = (files("ablate2tune.scenes.dataset") / "gallery.html").read_text(encoding="utf-8")
    # "</" inside a script would end it.
    return template.replace(PLACE, json.dumps(scenes).replace("</", "<\\/"))


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
