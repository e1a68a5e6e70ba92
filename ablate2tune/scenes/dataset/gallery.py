"""An HTML page that shows and filters a rendered data set, with thumbnails beside it."""

import io
import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

from PIL import Image

from ablate2tune.files import write_text
from ablate2tune.scenes.dataset.records import SceneRecord, load_images, opened

PLACE = "/*SCENES*/null"
LARGEST = 256
"""Width and height of a thumbnail at most (pixels)."""
QUALITY = 85
DIGITS = 3
"""Decimals of boxes and slacks."""


def write_gallery(records: list[SceneRecord], page: Path) -> Path:
    """Write the page, and a folder of its name beside it with a thumbnail and a mask of each scene.

    The page loads what is looked at, so the set may be large; both move together. The filters are
    also read from the address: `gallery.html#relation=behind&object=cat`. The `slack` of a scene is
    the smallest slack of its asserted relation, the one nearest to failing.

    Raises:
        UserError: a picture or sidecar is missing or damaged, or the files cannot be written.
    """
    beside = page.with_suffix("")
    beside.mkdir(parents=True, exist_ok=True)
    scenes = []
    for record in records:
        picture, mask = Image.fromarray(load_images([record])[0]), opened(record.mask_path)
        thumbnails = {
            "image": (picture, "jpg", {"quality": QUALITY}, Image.Resampling.BOX),
            "mask": (mask, "png", {"optimize": True}, Image.Resampling.NEAREST),
        }
        scene = _described(record)
        for key, (image, ending, options, filter_) in thumbnails.items():
            image.thumbnail((LARGEST, LARGEST), filter_)
            held = io.BytesIO()
            image.save(held, {"jpg": "JPEG", "png": "PNG"}[ending], **options)
            name = f"{record.scene_id}.{key}.{ending}"
            (beside / name).write_bytes(held.getvalue())
            scene[key] = f"{beside.name}/{name}"
        scenes.append(scene)
    template = (files("ablate2tune.scenes.dataset") / "gallery.html").read_text(encoding="utf-8")
    # "</" inside a script would end it.
    text = json.dumps(scenes, separators=(",", ":")).replace("</", "<\\/")
    write_text(page, template.replace(PLACE, text))
    return page


def _described(record: SceneRecord) -> dict:
    note = record.sidecar()
    own = note.get("record", {}).get("frame") == "object"
    slack = note["slack_own" if own else "slack"][note["relation_asserted"]]
    tightest = min(slack, key=slack.__getitem__)
    return {
        "id": record.scene_id,
        "text": record.text,
        "prompt": record.more.get("prompt") or "",
        "relation": record.relation,
        "split": record.split,
        "objects": {
            label: {
                "kind": made["kind"],
                "colour": made["colour"],
                "box": [round(edge, DIGITS) for edge in made["box"]],
                "visible": round(made["visible"], DIGITS),
            }
            for label, made in note["objects"].items()
        },
        "slack": round(slack[tightest], DIGITS),
        "tightest": tightest,
        "rejections": dict(Counter(note["rejections"])),
    }
