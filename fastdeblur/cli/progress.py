"""The progress bar: one step a file, or one an iteration; silent where nobody watches."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fastdeblur import Iteration

if TYPE_CHECKING:
    from typing_extensions import Self

    from fastdeblur.estimate import KernelProgress


class Bar:
    """A context that shows progress on stderr, if stderr is a terminal and the user wants it."""

    def __init__(self, files: int, quiet: bool):
        console = Console(stderr=True)
        self.visible = console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self.visible,
        )
        self._task = self._progress.add_task("", total=files, state="")
        self._runs = 1
        self._done = self._run = 0
        self._last: float = 0

    def __enter__(self) -> Self:
        if self.visible:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.visible:
            self._progress.stop()

    def begin(self, name: str, runs: int) -> None:
        """A file starts; it takes so many runs of the solver (pages times channels, at most)."""
        self._runs, self._run, self._last = max(runs, 1), 0, 0
        self._progress.update(self._task, description=name, state="", completed=self._done)

    def iteration(self, state: Iteration) -> None:
        """The solver's callback."""
        if state.iteration <= self._last:
            self._run += 1
        self._last = state.iteration
        share = min((self._run + state.iteration / max(state.num_iter, 1)) / self._runs, 1.0)
        self._progress.update(
            self._task,
            completed=self._done + share,
            state=f"iteration {state.iteration}/{state.num_iter}, change {state.change:.1e}",
        )

    def search(self, state: KernelProgress) -> None:
        """The callback of a search for a kernel, which may start again in a larger frame: the bar does not go back."""
        share = (self._run + 0.9 * state.iteration / state.num_iter) / self._runs
        self._last = max(self._last, min(share, 1.0))
        height, width = state.size
        self._progress.update(
            self._task,
            completed=self._done + self._last,
            state=f"kernel {height}x{width}, scale {state.scale}/{state.scales}",
        )

    def page(self) -> None:
        """A page is done, searched or not."""
        self._run += 1
        self._last = max(self._last, min(self._run / self._runs, 1.0))
        self._progress.update(self._task, completed=self._done + self._last)

    def end(self) -> None:
        """A file is done."""
        self._done += 1
        self._progress.update(self._task, completed=self._done)

    def callback(self, searching: bool = False) -> Any:
        """The callback for the solver, or for the search for a kernel; None where nothing is shown."""
        return (self.search if searching else self.iteration) if self.visible else None
