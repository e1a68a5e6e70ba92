"""The gallery in a headless Chromium: the page's own script fills and filters it."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
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
        self.more = {}
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
def shown(chromium, tmp_path_factory):
    """The scene ids, in order, and the counter's text at an address's end."""
    folder = tmp_path_factory.mktemp("gallery")
    page = write_gallery([Scene(folder, row) for row in SCENES], folder / "gallery.html")

    def open_at(address=""):
        options = ["--headless", "--disable-gpu", "--dump-dom", f"--user-data-dir={folder}/profile"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")  # Chromium refuses its sandbox to root
        done = subprocess.run(
            [chromium, *options, f"{page.as_uri()}{address}"],
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
