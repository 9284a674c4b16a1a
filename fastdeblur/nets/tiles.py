"""A frame in tiles that are run by themselves, with as much around them as bears on them: what the plain executors do where
memory is short. A network with layers that look at the whole frame cannot be run so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fastdeblur.errors import OutOfMemory
from fastdeblur.nets.execute import needed_bytes
from fastdeblur.nets.graph import Graph
from fastdeblur.nets.layers import LAYERS, FrameError


@dataclass(frozen=True)
class Axis:
    """How far tiles look on an axis, and what their borders must be multiples of."""

    before: int
    after: int
    multiple: int

    def read(self, first: int, last: int, n: int) -> tuple[int, int]:
        """The pixels that make those from first to last (without it) of n."""
        a = self.multiple
        start = max(first - self.before, 0) // a * a
        # At the far border the frame is continued from what lies before it.
        stop = -(-(last + self.after) // a) * a
        return (start, stop) if stop + a < n else (start, n)


def axes_of(graph: Graph) -> tuple[Axis, Axis] | None:
    """None where a layer looks at the whole frame."""
    found = []
    for axis in (0, 1):
        reaches = graph.reaches(axis)
        result = reaches[graph.output.value]
        if result.before is None or result.after is None:
            return None
        steps = [r.step.numerator for r in reaches]
        for node in graph.nodes:
            grid = LAYERS[node.op].grid(node, axis)
            steps += [(reaches[i].step * grid).numerator for i in node.inputs if grid > 1]
        multiple = math.lcm(graph.multiple_of[axis], *steps)
        found.append(Axis(max(0, math.ceil(result.before)), max(0, math.ceil(result.after)), multiple))
    return found[0], found[1]


@dataclass(frozen=True)
class Tiling:
    """Tiles of a size, and the most bytes that one takes."""

    axes: tuple[Axis, Axis] | None
    size: tuple[int, int]
    needed: int

    def tiles(self, height: int, width: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """(what is written, what is read) of every tile."""
        for top in range(0, height, self.size[0]):
            for left in range(0, width, self.size[1]):
                write, read = [], []
                for axis, first, step, n in ((0, top, self.size[0], height), (1, left, self.size[1], width)):
                    last = min(first + step, n)
                    write.append(slice(first, last))
                    start, stop = (0, n) if self.axes is None else self.axes[axis].read(first, last, n)
                    read.append(slice(start, stop))
                yield (write[0], write[1]), (read[0], read[1])


def tiling(graph: Graph, height: int, width: int, limit: int | None, itemsize: int = 4) -> Tiling:
    """The largest tiles that fit in so many bytes; the whole frame in one where it does. Raises OutOfMemory."""
    whole = needed_bytes(graph, graph.shapes(height, width), itemsize)
    if limit is None or whole <= limit:
        return Tiling(None, (height, width), whole)
    axes = axes_of(graph)
    if axes is None:
        raise OutOfMemory(
            f"max_memory: the network {graph.name!r} needs {whole / 1e6:.1f} MB for a frame of {height} x {width} pixels, and "
            f"cannot be run in tiles (a layer looks at the whole frame), got {limit / 1e6:.1f} MB"
        )
    size, needed = [height, width], whole
    while needed > limit:
        axis = 0 if size[0] >= size[1] else 1
        multiple = axes[axis].multiple
        smaller = -(-size[axis] // (2 * multiple)) * multiple
        if smaller >= size[axis]:
            axis = 1 - axis
            multiple = axes[axis].multiple
            smaller = -(-size[axis] // (2 * multiple)) * multiple
            if smaller >= size[axis]:
                raise OutOfMemory(
                    f"max_memory: the network {graph.name!r} needs {needed / 1e6:.1f} MB even in tiles of {size[0]} x {size[1]} "
                    f"pixels, got {limit / 1e6:.1f} MB"
                )
        size[axis] = smaller
        try:
            needed = _largest(graph, Tiling(axes, (size[0], size[1]), 0), height, width, itemsize)
        except FrameError:  # too small for some layer
            raise OutOfMemory(
                f"max_memory: the network {graph.name!r} cannot be run in smaller tiles than need {needed / 1e6:.1f} MB, "
                f"got {limit / 1e6:.1f} MB"
            ) from None
    return Tiling(axes, (size[0], size[1]), needed)


def _largest(graph: Graph, tiles: Tiling, height: int, width: int, itemsize: int) -> int:
    rows = {read[0].stop - read[0].start for _, read in tiles.tiles(height, tiles.size[1])}
    columns = {read[1].stop - read[1].start for _, read in tiles.tiles(tiles.size[0], width)}
    return max(needed_bytes(graph, graph.shapes(h, w), itemsize) for h in rows for w in columns)
