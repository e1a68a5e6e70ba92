"""A worker in plain Python that speaks Blender's protocol and misbehaves where it is told to."""

import json
import shlex
import sys
from pathlib import Path

WORKER = """
import hashlib, io, json, os, pathlib, sys, time
from PIL import Image
behaviour = json.loads(sys.argv[1])
settings = json.loads(os.environ.get("ABLATE2TUNE_WORKER", "{}"))
gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
def answer(row): print("@@a2t " + json.dumps(row), flush=True)
answer({"status": "ready", "device": settings.get("device", ""), "slot": settings.get("slot", ""),
        "view_transforms": " ".join(settings.get("view_transforms", [])), "gpus": gpus})
for line in sys.stdin:
    job = json.loads(line)
    group = job["group"]
    brought = [f for key in ("models", "maps") for f in job.get(key, {}).values()]
    if any(pathlib.Path(file["path"]).read_bytes() != file["content"].encode() for file in brought):
        answer({"status": "failed", "reason": "another file"})
        continue
    what = behaviour.get(group["group_id"], behaviour.get(group["twins"][0]["relation"]))
    if what in ("kill parent", "kill node") and not os.path.exists(sys.argv[2]):
        pathlib.Path(sys.argv[2]).touch()
        victim = os.getppid()
        if what == "kill node":
            status = pathlib.Path(f"/proc/{victim}/status").read_text()
            victim = int(status.split("PPid:")[1].split()[0])
        os.kill(victim, 9)
    if what == "slow":
        time.sleep(0.5)
    if what == "reject":
        answer({"status": "rejected", "reason": "outside the frame"})
        continue
    for twin in group["twins"]:
        name = twin["record"]["scene_id"]
        data = io.BytesIO()
        Image.new("RGB", (4, 4)).save(data, "PNG")
        for kind in ("images", "masks", "depth"):
            with open(f"{job['folder']}/{kind}/{name}.png", "wb") as file:
                file.write(data.getvalue())
        if what == "crash":
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(9)
        if what == "hang":
            time.sleep(60)
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        note = {"schema": "ablate2tune/scene/1", "scene_id": name, "attempt": group["attempt"],
                "record": twin["record"], "made_with": {"blender": "9"}, "rejections": [],
                "sha256": {kind: digest for kind in ("images", "masks", "depth")}}
        with open(f"{job['folder']}/sidecars/{name}.json", "w") as file:
            json.dump(note, file)
    answer({"status": "failed", "reason": "KeyError"} if what == "fail" else
           {"status": "accepted"})
"""


def pretended_worker(folder: Path, behaviour: dict[str, str]) -> list[str]:
    """The command of a worker that does as told by group id, or by the relation of a first twin.

    "crash", "hang", "slow", "fail" and "reject" are its own doing, every time; "kill parent" kills
    the process that started it, "kill node" that one's parent, once.
    """
    script = folder / "pretended.py"
    script.write_text(WORKER)
    return [sys.executable, str(script), json.dumps(behaviour), str(folder / "killed")]


def pretended_blender(folder: Path, behaviour: dict[str, str]) -> str:
    """An executable that names itself Blender and runs such a worker."""
    command = shlex.join(pretended_worker(folder, behaviour))
    path = folder / "blender"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo Blender 4.2.0\nexec {command}\n')
    path.chmod(0o755)
    return str(path)
