# SPDX-License-Identifier: Apache-2.0
"""What the camera sees, measured by casting rays: masks, depth, boxes, hidden parts, contact.

One ray goes through the centre of each pixel, so the masks and the depth map fit the rendered
image without a second render pass. Each object is cast at alone, which also measures what the
others hide.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from statistics import median

from assets import PLAIN
from mathutils import Vector
from meshes import Built, built
from relations import Over, Pair, View

SENSOR = 36.0
"""Width of the (square) film, millimetres."""
COLUMNS = 15
"""Vertical rays per side of the grid that measures the gap between two objects."""
FOOT = 0.035
"""How near to a surface (metres) something must be to stand on it: nearer than slats lie apart."""
FAR = 100.0
DIRECTIONS = 16
"""Horizontal rays that tell whether something is inside."""


@dataclass(frozen=True)
class Placed:
    """A kind at a place: metres, radians about the vertical."""

    kind: str
    scale: float
    yaw: float
    x: float
    y: float
    z: float
    variant: str = "plain"
    pose: str = "standing"

    @property
    def model(self) -> Built:
        return built(self.kind, self.variant, self.pose)

    def points(self) -> list[tuple[float, float, float]]:
        """The model's corners in the world (metres)."""
        c, s = self.scale * math.cos(self.yaw), self.scale * math.sin(self.yaw)
        x0, y0, z0, k = self.x, self.y, self.z, self.scale
        return [(x0 + c * x - s * y, y0 + s * x + c * y, z0 + k * z)
                for x, y, z in self.model.corners]  # fmt: skip

    def columns(self) -> list[tuple[float, float]]:
        """Where the model's thin parts stand in the world (metres)."""
        c, s = self.scale * math.cos(self.yaw), self.scale * math.sin(self.yaw)
        return [(self.x + c * x - s * y, self.y + s * x + c * y) for x, y in self.model.columns]

    def turned(self, v: Vector) -> Vector:
        """A world direction in the model's own frame, lengths in the model's units."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return Vector((c * v.x + s * v.y, c * v.y - s * v.x, v.z)) / self.scale

    def local(self, p: Vector) -> Vector:
        return self.turned(p - Vector((self.x, self.y, self.z)))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with a square frame; axes are unit vectors in the world."""

    location: Vector
    right: Vector
    up: Vector
    forward: Vector
    lens: float
    distance: float = 0.0
    """From what it was aimed at (metres)."""

    @property
    def zoom(self) -> float:
        """Frame fractions per unit of tangent."""
        return self.lens / SENSOR

    def boxed(self, points) -> tuple[float, float, float, float]:
        """Box around projected points: left, top, right, bottom in fractions of the frame."""
        sides = _bounds(_in_axes(points, self, self.location), 0.0, 0.0, 0.0)
        k = self.zoom
        return (0.5 + k * sides[0], 0.5 - k * sides[3], 0.5 + k * sides[2], 0.5 - k * sides[1])


def _in_axes(points, axes, origin: Vector) -> list[tuple[float, float, float]]:
    (rx, ry, rz), (ux, uy, uz), (fx, fy, fz) = axes.right, axes.up, axes.forward
    ox, oy, oz = origin
    moved = ((x - ox, y - oy, z - oz) for x, y, z in points)
    return [(rx * x + ry * y + rz * z, ux * x + uy * y + uz * z, fx * x + fy * y + fz * z)
            for x, y, z in moved]  # fmt: skip


def _bounds(axial, dx: float, dy: float, distance: float) -> tuple[float, float, float, float]:
    """Tangent-plane bounds (left, bottom, right, top) seen from a camera moved back and aside."""
    depths = [distance + f for _, _, f in axial]
    xs = [(r - dx) / d for (r, _, _), d in zip(axial, depths, strict=True)]
    ys = [(u - dy) / d for (_, u, _), d in zip(axial, depths, strict=True)]
    return min(xs), min(ys), max(xs), max(ys)


def framed(
    points, spec: dict, far: float | None = None, rounds: int = 6, pull: float = 1.0
) -> Camera:
    """The camera whose frame the points fill, or hold at a distance `far` (metres).

    `spec`: azimuth and elevation in degrees, lens in millimetres, fill (the longer side of the
    points' box as a fraction of the frame) and offset (of that box's centre, frame fractions).
    The distance is found in so many `rounds`; what is deep and seen from nearby needs more, each
    with less of a `pull`, or the distance swings for ever.
    """
    azimuth, elevation = math.radians(spec["azimuth"]), math.radians(spec["elevation"])
    forward = Vector((
        -math.sin(azimuth) * math.cos(elevation),
        math.cos(azimuth) * math.cos(elevation),
        -math.sin(elevation),
    ))  # fmt: skip
    right = Vector((math.cos(azimuth), math.sin(azimuth), 0.0))
    axes = Camera(Vector(), right, right.cross(forward), forward, spec["lens"])
    axial = _in_axes(points, axes, Vector())
    # Nothing may come behind the camera, whatever it cuts off.
    nearest = -1.2 * min(f for *_, f in axial)
    dx = dy = 0.0
    distance = 8.0
    for _ in range(rounds):
        left, bottom, rightmost, top = _bounds(axial, dx, dy, distance)
        distance *= (max(rightmost - left, top - bottom) * axes.zoom / spec["fill"]) ** pull
        distance = far or max(distance, nearest)
        dx += distance * ((left + rightmost) / 2 - spec["offset"][0] / axes.zoom)
        dy += distance * ((bottom + top) / 2 - spec["offset"][1] / axes.zoom)
    location = axes.right * dx + axes.up * dy - forward * distance
    return Camera(location, axes.right, axes.up, forward, spec["lens"], distance)


def over(upper: Placed, lower: Placed) -> Over:
    """How the upper object lies above the lower one, by a grid of vertical rays.

    The gap is also measured along the thin columns of both, which the grid could miss.
    """
    if PLAIN not in (upper.variant, lower.variant):
        return _over_in_life(upper, lower)
    reach = 0.6 * lower.scale
    gaps, columns = [], 0
    for i in range(COLUMNS):
        for j in range(COLUMNS):
            x = lower.x + reach * (2 * i / (COLUMNS - 1) - 1)
            y = lower.y + reach * (2 * j / (COLUMNS - 1) - 1)
            top = _height(lower, x, y, from_above=True)
            if top is None:
                continue
            columns += 1
            bottom = _height(upper, x, y, from_above=False)
            if bottom is not None:
                gaps.append(bottom - top)
    cover = len(gaps) / columns if columns else 0.0
    for x, y in upper.columns() + lower.columns():
        top, bottom = _height(lower, x, y, from_above=True), _height(upper, x, y, from_above=False)
        if top is not None and bottom is not None:
            gaps.append(bottom - top)
    return Over(min(gaps), cover) if gaps else Over(None, 0.0)


def _over_in_life(upper: Placed, lower: Placed) -> Over:
    """`over` for objects of any size: one grid for the cover, one where both are for the gap."""
    boxes = [_footprint(body) for body in (upper, lower)]
    shared = [(max(p[0], q[0]), min(p[1], q[1])) for p, q in zip(*boxes, strict=True)]
    columns = covered = 0
    for x, y in _grid(boxes[1]):
        if _height(lower, x, y, from_above=True) is not None:
            columns += 1
            covered += _height(upper, x, y, from_above=False) is not None
    gaps = []
    points = upper.columns() + lower.columns()
    if all(low < high for low, high in shared):
        points += _grid(shared)
    for x, y in points:
        bottom = _height(upper, x, y, from_above=False)
        if bottom is not None:
            top = _below_foot(lower, x, y)
            if top is not None:
                gaps.append(bottom - top)
    return Over(min(gaps), covered / max(1, columns)) if gaps else Over(None, 0.0)


def _below_foot(body: Placed, x: float, y: float) -> float | None:
    """Height (m) of a body's upper surface where something stands: no foot goes between slats."""
    top = _height(body, x, y, from_above=True)
    if top is not None:
        return top
    around = [
        _height(body, x + FOOT * i, y + FOOT * j, from_above=True)
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]
    # The lowest: beside a seat's gap may also be its back.
    return min((found for found in around if found is not None), default=None)


def _footprint(body: Placed) -> list[tuple[float, float]]:
    """Bounds along x and y (metres)."""
    points = body.points()
    return [(min(p[k] for p in points), max(p[k] for p in points)) for k in (0, 1)]


def _grid(bounds) -> list[tuple[float, float]]:
    """The middles of `COLUMNS` x `COLUMNS` cells."""
    xs, ys = (
        [low + (high - low) * (k + 0.5) / COLUMNS for k in range(COLUMNS)] for low, high in bounds
    )
    return [(x, y) for x in xs for y in ys]


def _height(body: Placed, x: float, y: float, from_above: bool) -> float | None:
    """Height of the body's outer surface over a ground point, seen from above or below (m)."""
    start = FAR if from_above else -FAR
    origin = body.local(Vector((x, y, start)))
    hit = body.model.tree.ray_cast(origin, (0.0, 0.0, -1.0 if from_above else 1.0))
    if hit[0] is None:
        return None
    return body.z + body.scale * hit[0].z


def _cast(body: Placed, box, camera: Camera, size: int) -> dict[int, float]:
    """Depth (m) along the optical axis at each pixel (row * size + column) that shows the body."""
    step = 1 / (size * camera.zoom)
    origin = body.local(camera.location)
    across = body.turned(camera.right * step)
    down = body.turned(camera.up * -step)
    corner = body.turned(camera.forward) + (across + down) * (0.5 - size / 2)
    columns = range(max(0, math.floor(box[0] * size)), min(size, math.ceil(box[2] * size)))
    rows = range(max(0, math.floor(box[1] * size)), min(size, math.ceil(box[3] * size)))
    ray_cast, depths = body.model.tree.ray_cast, {}
    for row in rows:
        start = corner + down * row
        for column in columns:
            direction = start + across * column
            distance = ray_cast(origin, direction)[3]
            if distance is not None:
                depths[row * size + column] = distance / direction.length
    return depths


@dataclass(frozen=True)
class Observation:
    """What is seen of some bodies.

    `instances` holds 0 for the background, then 1, 2, ... in the bodies' order; `hides[i][j]` is
    the fraction of body j's pixels at which body i is nearer; `depth` is in metres; `heights` holds
    the lowest and the highest point seen of each body (metres).
    """

    bodies: list[Placed]
    views: list[View]
    hides: list[list[float]]
    instances: bytearray
    depth: array
    heights: list[tuple[float, float]]
    in_life: bool = False

    def pair(self, i: int, j: int) -> Pair:
        """Everything measured about body i and body j."""
        first, second = self.bodies[i], self.bodies[j]
        return Pair(
            self.views[i], self.views[j], self.hides[i][j], self.hides[j][i],
            over(first, second), over(second, first),
            enclosed(first, second), enclosed(second, first),
            self.heights[i], self.heights[j], self.in_life,
        )  # fmt: skip


def observe(
    bodies: list[Placed],
    camera: Camera,
    size: int,
    wall: float | None = None,
    in_life: bool = False,
) -> Observation:
    """Measure what a camera with `size` x `size` pixels sees of bodies on the ground.

    `wall` is the y coordinate of a wall behind everything, if there is one (metres); `in_life` as
    in `Pair`.
    """
    points = [body.points() for body in bodies]
    boxes = [camera.boxed(p) for p in points]
    casts = [_cast(b, box, camera, size) for b, box in zip(bodies, boxes, strict=True)]
    nearer = [
        [{pixel for pixel, depth in own.items() if other.get(pixel, FAR) < depth}
         if other is not own else set() for own in casts]
        for other in casts
    ]  # fmt: skip
    hidden = [set().union(*(row[j] for row in nearer)) for j in range(len(bodies))]
    depth = _background_depth(camera, size, wall)
    instances = bytearray(size * size)
    for label, (own, unseen) in enumerate(zip(casts, hidden, strict=True), start=1):
        for pixel in own.keys() - unseen:
            instances[pixel] = label
            depth[pixel] = own[pixel]
    views = [
        _view(p, box, camera, own, unseen, size)
        for p, box, own, unseen in zip(points, boxes, casts, hidden, strict=True)
    ]
    hides = [
        [len(pixels) / max(1, len(own)) for pixels, own in zip(row, casts, strict=True)]
        for row in nearer
    ]
    heights = _heights_seen(instances, depth, camera, size, len(bodies))
    return Observation(bodies, views, hides, instances, depth, heights, in_life)


def _heights_seen(
    instances: bytearray, depth: array, camera: Camera, size: int, count: int
) -> list[tuple[float, float]]:
    """Lowest and highest visible point of each body (metres); (0, 0) where none is visible."""
    found: dict[int, tuple[float, float]] = {}
    step = 1 / (size * camera.zoom)
    for row in range(size):
        labels = instances[row * size : (row + 1) * size]
        depths = depth[row * size : (row + 1) * size]
        # The camera has no roll: a row of pixels has one slope.
        slope = camera.forward.z + camera.up.z * step * (size / 2 - row - 0.5)
        for label in set(labels) - {0}:
            own = [far for far, at in zip(depths, labels, strict=True) if at == label]
            ends = [camera.location.z + slope * far for far in (min(own), max(own))]
            ends += found.get(label, ())
            found[label] = (min(ends), max(ends))
    return [found.get(label, (0.0, 0.0)) for label in range(1, count + 1)]


def enclosed(inner: Placed, outer: Placed) -> float:
    """Fraction of the horizontal directions, from a point low inside, that meet the outer body."""
    points = [z for _, _, z in inner.points()]
    low, high = min(points), max(points)
    rim = outer.z + outer.scale * max(z for _, _, z in outer.model.corners)
    height = min(low + 0.4 * (high - low), (low + rim) / 2)
    start = outer.local(Vector((inner.x, inner.y, height)))
    met = 0
    for k in range(DIRECTIONS):
        turn = 2 * math.pi * k / DIRECTIONS
        toward = (math.cos(turn), math.sin(turn), 0.0)
        met += outer.model.tree.ray_cast(start, toward)[0] is not None
    return met / DIRECTIONS


def _view(points, box, camera: Camera, own, unseen, size: int) -> View:
    ahead = Vector((camera.forward.x, camera.forward.y, 0.0)).normalized()
    across = [camera.right.x * x + camera.right.y * y for x, y, _ in points]
    along = [ahead.x * x + ahead.y * y for x, y, _ in points]
    heights = [z for _, _, z in points]
    seen = len(own) - len(unseen)
    return View(
        box=box,
        right=(min(across), max(across)),
        forward=(min(along), max(along)),
        up=(min(heights), max(heights)),
        visible=seen / max(1, len(own)),
        area=seen / size**2,
        depth=median(own.values()) if own else FAR,
    )


def _background_depth(camera: Camera, size: int, wall: float | None) -> array:
    """Depth (m) of the ground z = 0, or of the wall, at each pixel; 0 where the ray meets none."""
    depth = array("d", bytes(8 * size * size))
    step = 1 / (size * camera.zoom)
    for row in range(size):
        # The camera has no roll: a row of pixels has one slope, hence one depth.
        slope = camera.forward.z + camera.up.z * step * (size / 2 - row - 0.5)
        if slope < 0:
            start = row * size
            depth[start : start + size] = array("d", [camera.location.z / -slope]) * size
        if wall is not None:
            down = camera.up.y * step * (size / 2 - row - 0.5) + camera.forward.y
            for column in range(size):
                toward = down + camera.right.y * step * (column + 0.5 - size / 2)
                reach = (wall - camera.location.y) / toward if toward > 0 else FAR
                at = row * size + column
                depth[at] = min(depth[at] or FAR, reach)
    return depth
