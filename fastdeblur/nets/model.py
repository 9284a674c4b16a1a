"""A network, ready to run."""

from __future__ import annotations

from fastdeblur.nets.graph import Graph


class Model:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
