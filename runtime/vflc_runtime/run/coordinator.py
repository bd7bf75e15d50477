"""What places agree on while they train, and what it comes to where all of them are in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vflc_runtime.metrics import Meter


class Coordinator(Protocol):
    """What the loop asks of the other places. All places ask the same, in the same order."""

    run: str
    """A name of this training that its checkpoints bear; empty where there is nobody to compare with."""
    waits: bool
    """Whether this process waits for others, and may do meanwhile what comes next."""

    def complete(self, *meters: Meter) -> None:
        """Adds to the meters of an epoch what other places know of its loss, where it is needed here."""
        ...

    def better(self, judge: Callable[[], bool | None]) -> bool | None:
        """Whether the epoch is the best so far: `judge` says it, at the place whose word counts.

        None where what is watched is undefined: the epoch does not count.
        """
        ...

    def stop_after(self, step: int, asked: bool) -> bool:
        """Whether all places stop now, `step` steps done; `asked` where this one wants to."""
        ...

    def before_saving(self) -> None:
        """Waits until all places have the checkpoint before the one that is about to be written."""
        ...

    def saved(self, step: int) -> None:
        """Tells the others that this place has a checkpoint at `step`."""
        ...

    def finish(self, step: int) -> None:
        """Waits until all places have done all `step` steps and saved what came of them."""
        ...


class Alone:
    """All places are here: nobody needs to be asked."""

    run, waits = "", False

    def complete(self, *meters: Meter) -> None:
        pass

    def better(self, judge: Callable[[], bool | None]) -> bool | None:
        return judge()

    def stop_after(self, step: int, asked: bool) -> bool:
        return asked

    def before_saving(self) -> None:
        pass

    def saved(self, step: int) -> None:
        pass

    def finish(self, step: int) -> None:
        pass
