"""Rows of a batch that nobody has gathered yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from vflc_common.arrays import Array, Indices


class Rows(Mapping[str, Array]):
    """The rows `indices` [batch] of inputs [rows, …], which are gathered where they are read, or on a device.

    Args:
        inputs: by id.
        indices: of the rows.
        names: of the inputs that are meant; all where None.
    """

    def __init__(
        self, inputs: Mapping[str, Array], indices: Indices, names: Iterable[str] | None = None
    ) -> None:
        self.inputs, self.indices = inputs, indices
        self._names = tuple(inputs if names is None else names)

    def only(self, names: Iterable[str]) -> Rows:
        """The same rows of some inputs."""
        return Rows(self.inputs, self.indices, names)

    def __getitem__(self, name: str) -> Array:
        return self.inputs[name].take(self.indices, axis=0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
