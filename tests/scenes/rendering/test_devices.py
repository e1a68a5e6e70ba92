"""The device Cycles renders on and the view transform: chosen, recorded, refused."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from blender_scripts import load_blender_script

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import load_depth, load_images, load_masks, read_dataset
from ablate2tune.scenes.rendering import worker_pool
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.rendering.worker_pool import WorkerPool
from ablate2tune.scenes.scenes_config import ScenesConfig

devices = load_blender_script("devices")


class Preferences:
    """Cycles' preferences of a build that has some backends on a machine with some devices."""

    def __init__(self, backends, *entries):
        self.backends = backends
        self.devices = [SimpleNamespace(type=t, name=n, use=True) for t, n in entries]

    def __setattr__(self, name, value):
        if name == "compute_device_type" and value not in ("NONE", *self.backends):
            raise TypeError(f'enum "{value}" not found')
        object.__setattr__(self, name, value)

    def get_devices_for_type(self, backend):
        return [d for d in self.devices if d.type in (backend, "CPU")]

    def used(self):
        return [d.name for d in self.devices if d.use]


CPU = ("CPU", "a processor")
OPTIX, CUDA, SECOND = ("OPTIX", "card"), ("CUDA", "card"), ("CUDA", "second card")


@pytest.mark.parametrize(
    "asked, backends, entries, slot, device, used",
    [
        ("auto", ["CUDA", "OPTIX"], [CUDA, OPTIX, CPU], 0, "OPTIX: card", ["card"]),
        ("auto", ["CUDA"], [CPU, CUDA, OPTIX], 0, "CUDA: card", ["card"]),
        ("gpu", ["CUDA"], [CUDA, SECOND, CPU], 1, "CUDA: second card", ["second card"]),
        ("gpu", ["CUDA"], [CUDA, SECOND, CPU], 2, "CUDA: card", ["card"]),
        ("auto", ["CUDA", "HIP"], [CPU], 0, "CPU", None),
        ("auto", [], [CPU], 0, "CPU", None),
        ("cpu", ["CUDA"], [CUDA, CPU], 0, "CPU", None),
    ],
)
def test_which_device_is_used(asked, backends, entries, slot, device, used):
    preferences, cycles = Preferences(backends, *entries), SimpleNamespace(device="")
    assert devices.choose(asked, preferences, cycles, lambda: True, slot) == device
    assert cycles.device == ("CPU" if device == "CPU" else "GPU")
    if used is not None:
        assert preferences.used() == used


def test_a_backend_on_which_no_frame_renders_is_passed_over():
    preferences, cycles = Preferences(["OPTIX", "CUDA"], OPTIX, CUDA, CPU), SimpleNamespace()
    device = devices.choose(
        "auto", preferences, cycles, lambda: preferences.compute_device_type == "CUDA"
    )
    assert device == "CUDA: card"
    assert devices.choose("auto", preferences, cycles, lambda: False) == "CPU"
    assert (cycles.device, preferences.compute_device_type) == ("CPU", "NONE")
    with pytest.raises(devices.NoGpuError, match="rendered on OPTIX: card, CUDA: card"):
        devices.choose("gpu", preferences, cycles, lambda: False)


def test_no_gpu_where_one_is_asked_for():
    with pytest.raises(devices.NoGpuError, match="finds no GPU"):
        devices.choose("gpu", Preferences(["CUDA"], CPU), SimpleNamespace(), lambda: True)


def test_a_worker_that_lacks_what_is_asked_for(monkeypatch, tmp_path):
    row = {"status": "unable", "reason": "no GPU", "where": "scenes.device", "mend": "set cpu"}
    script = tmp_path / "speaker.py"
    script.write_text(f"import json\nprint('@@a2t ' + json.dumps({row}), flush=True)\ninput()")
    monkeypatch.setattr(worker_pool, "find_blender", lambda named: [sys.executable, str(script)])
    with (
        WorkerPool(None, 1, timeout=5.0, device="gpu") as pool,
        pytest.raises(UserError, match=r"^scenes\.device: no GPU; set cpu$"),
    ):
        pool.ask({"folder": "x", "path": "y"})


def test_what_a_worker_is_told(monkeypatch, tmp_path):
    script = tmp_path / "speaker.py"
    script.write_text(
        "import json, os\n"
        'print(\'@@a2t {"status": "ready"}\', flush=True)\ninput()\n'
        "told = json.loads(os.environ['ABLATE2TUNE_WORKER'])\n"
        "print('@@a2t ' + json.dumps({'status': 'accepted', 'told': told}), flush=True)\ninput()"
    )
    monkeypatch.setattr(worker_pool, "find_blender", lambda named: [sys.executable, str(script)])
    with WorkerPool(None, 1, 5.0, device="auto", view_transforms=["AgX"]) as pool:
        told = pool.ask({"folder": "x", "path": "y"})["told"]
    assert told == {"device": "auto", "slot": 0, "view_transforms": ["AgX"]}


CONFIG = ScenesConfig(images=8, size=32, samples=1, workers=1, relations=["left of", "right of"])


@pytest.mark.usefixtures("blender")
def test_a_group_has_one_view_transform_and_geometry_knows_nothing_of_it(tmp_path):
    mixed = CONFIG.model_copy(update={"view_transforms": ["Standard", "Filmic"], "device": "auto"})
    render_dataset(CONFIG, 1, tmp_path / "usual")
    render_dataset(mixed, 1, tmp_path / "mixed")
    usual, other = read_dataset(tmp_path / "usual"), read_dataset(tmp_path / "mixed")
    names = [record.sidecar()["view_transform"] for record in other]
    assert set(names) == {"Standard", "Filmic"} and names[::2] == names[1::2]
    assert np.array_equal(load_masks(usual), load_masks(other))
    assert np.array_equal(load_depth(usual), load_depth(other))
    device = other[0].sidecar()["made_with"]["device"]
    held = json.loads((tmp_path / "mixed" / "dataset.json").read_text())
    assert held["devices"] == [device]
    assert "view_transform" not in usual[0].sidecar()
    if device == "CPU":
        for name, one, two in zip(names, load_images(usual), load_images(other), strict=True):
            # The denoiser may differ by one step between runs; Filmic moves whole pictures.
            assert (abs(one.astype(int) - two).max() <= 1) == (name == "Standard")


@pytest.mark.usefixtures("blender")
def test_a_gpu_that_is_not_there(tmp_path):
    try:
        render_dataset(CONFIG.model_copy(update={"device": "gpu"}), 1, tmp_path)
    except UserError as error:
        assert "scenes.device = gpu: Cycles finds no GPU to render on" in str(error)
        assert not (tmp_path / "images").exists()
    else:
        assert "CPU" not in json.loads((tmp_path / "dataset.json").read_text())["devices"]
