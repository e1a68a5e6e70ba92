"""An asset of another package: posts of two heights, built inside Blender."""

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Post:
    """`height` in metres."""

    height: float


def build(b: Builder, post: Post, pose: str) -> None:
    b.slab((0, 0, 0), (0.2, 0.2, post.height))


ASSET = Asset("post", build, {"low": Post(0.6), "high": Post(0.9)})
