"""What an offline run of Weights & Biases holds, read from its own file."""

import json
import struct
import time
from pathlib import Path

from wandb.proto import wandb_internal_pb2 as records


def read_wandb(path: Path) -> list:
    """Records of a .wandb file: LevelDB's log format (32 KiB blocks) after a 7-byte header.

    A record that W&B is still writing at the end is left out.
    """
    data, parts, found, at = path.read_bytes(), b"", [], 7
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        if at + 7 + length > len(data):
            break  # W&B is still writing it
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            record = records.Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def items(listed) -> dict:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in listed}


def records_of(run: Path, rows: int) -> list:
    """What an offline run holds, once W&B's own process has written its last row of history."""
    (log,) = run.glob("*.wandb")
    deadline = time.monotonic() + 60
    while True:
        logged = read_wandb(log)
        if sum(r.HasField("history") for r in logged) >= rows or time.monotonic() > deadline:
            return logged
        time.sleep(0.5)
