"""Asset files of the user's own, built once in a process that can be stopped: one may hang."""

import subprocess
import sys
from pathlib import Path

from ablate2tune.errors import UserError

PATIENCE = 60.0
"""Seconds that all of a folder's assets may take."""
SCRIPT = """
import importlib.util, os, sys
package, folder = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "assets", os.path.join(package, "__init__.py"), submodule_search_locations=[package])
module = sys.modules["assets"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(folder, "", "", sep="\\t", flush=True)
for asset in module.catalogue((folder,)).values():
    if os.path.dirname(asset.file) == folder:
        for variant in asset.variants:
            for pose in asset.poses:
                print(asset.file, variant, pose, sep="\\t", flush=True)
                module.draft(asset, variant, pose)
"""


def try_assets(package: Path, folder: Path, patience: float = PATIENCE) -> None:
    """Build every look of a folder's Python assets; their errors are left to who reads them next.

    Args:
        package: the folder `blender_scenes/assets`.
        folder: the user's own.
        patience: seconds that it may take.

    Raises:
        UserError: it takes longer; names the file, the variant and the pose at which it hangs.
    """
    if not any(folder.glob("*.py")):
        return
    command = [sys.executable, "-c", SCRIPT, str(package), str(folder)]
    try:
        subprocess.run(command, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as late:
        told = (late.stdout or b"").decode().splitlines() or [f"{folder}\t\t"]
        file, variant, pose = told[-1].split("\t")
        made = f"variant {variant!r} in pose {pose!r}" if variant else "one of its files"
        raise UserError(
            f"{made} is not built within {patience:g} s", where=file, mend="mend that file"
        ) from late
