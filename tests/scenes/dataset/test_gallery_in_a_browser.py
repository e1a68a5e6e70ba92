"""The gallery in a headless Chromium: the page's own script fills and filters it."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from devtools import tab
from PIL import Image

from ablate2tune.scenes.dataset.gallery import write_gallery

pytestmark = pytest.mark.slow
SCENES = [
    ("g000000-a", "behind", "cat", "chair", 0.10, ["outside the frame"], "train"),
    ("g000000-b", "in front of", "cat", "chair", 0.30, ["outside the frame"], "train"),
    ("g000001-a", "behind", "ball", "table", 0.02, [], "train"),
    ("g000001-b", "in front of", "ball", "table", 0.20, [], "test"),
]


@pytest.fixture(scope="module")
def chromium():
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    return found


class Scene:
    """What the gallery asks of a record."""

    def __init__(self, folder, row):
        self.scene_id, self.relation, self.kind, self.other, self.slack, self.why, self.split = row
        self.text = f"a red {self.kind} {self.relation} a blue {self.other}"
        self.more, self.mirrored = {}, False
        self.image_path = self.mask_path = folder / f"{self.scene_id}.png"
        Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(self.image_path)

    def sidecar(self):
        made = {"colour": "red", "box": [0.1, 0.1, 0.5, 0.5], "visible": 0.9}
        return {
            "objects": {"subject": {"kind": self.kind, **made},
                        "object": {"kind": self.other, **made}},
            "relation_asserted": self.relation, "relations_true": [self.relation],
            "slack": {self.relation: {"gap": self.slack}}, "rejections": self.why,
        }  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return write_gallery([Scene(folder, row) for row in SCENES], folder / "gallery.html")


@pytest.fixture(scope="module")
def command(chromium, page):
    options = ["--headless", "--disable-gpu", f"--user-data-dir={page.parent}/profile"]
    # Chromium refuses its sandbox to root.
    return [chromium, *options, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


@pytest.fixture(scope="module")
def shown(command, page):
    """The scene ids, in order, and the counter's text at an address's end."""

    def open_at(address=""):
        done = subprocess.run(
            [*command, "--dump-dom", f"{page.as_uri()}{address}"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        body = done.stdout.split("<script>")[0]
        counter = re.search(r'<output id="count">([^<]*)</output>', body)
        assert counter, body[:500]
        return re.findall(r'<figure id="([^"]+)"', body), counter[1]

    return open_at


@pytest.mark.parametrize(
    "address, ids",
    [
        ("", ["g000000-a", "g000000-b", "g000001-a", "g000001-b"]),
        ("#relation=behind", ["g000000-a", "g000001-a"]),
        ("#relation=in+front+of&object=cat", ["g000000-b"]),
        ("#object=table&split=test", ["g000001-b"]),
        ("#rejection=outside%20the%20frame", ["g000000-a", "g000000-b"]),
        ("#slack=0.15", ["g000000-a", "g000001-a"]),
        ("#relation=above", []),
    ],
)
def test_filters_follow_the_address(shown, address, ids):
    assert shown(address) == (ids, f"{len(ids)} of 4 scenes")


BOXES = """[...document.querySelectorAll("figure")].map(figure => [...new Set(
    [...figure.querySelectorAll(".box")].map(box => getComputedStyle(box).visibility))].join())"""
MIDDLE = """(() => { const r = document.querySelector(".frame").getBoundingClientRect();
    return [r.x + r.width / 2, r.y + r.height / 2]; })()"""


def test_boxes_on_focus_and_tap_and_no_sideways_scroll(command, page):
    hidden = ["hidden"] * 4
    with tab(command) as opened:
        for width in (1280, 390):
            opened.open(page.as_uri(), width, touch=width < 500)
            assert opened.value("document.documentElement.scrollWidth") <= width
            assert opened.value(BOXES) == hidden
        opened.tap(*opened.value(MIDDLE))
        assert opened.value(BOXES) == ["visible", *hidden[1:]]
        opened.tap(*opened.value(MIDDLE))
        assert opened.value(BOXES) == hidden
        opened.open(page.as_uri(), 1280)
        opened.value("document.querySelector('.frame').focus()")
        assert opened.value(BOXES) == ["visible", *hidden[1:]]
