"""Weights of a `.keras` archive: HDF5, of which only plain numbers in the file itself are read."""

from __future__ import annotations

from math import prod
from typing import Any

from vflc.importing.archive import Archive
from vflc.translation.graph import refuse

MOST_VALUES = 1 << 31


def read(archive: Archive, name: str, shape: tuple[int, ...] | None = None) -> Any:
    """An array of numbers.

    Args:
        archive: the file.
        name: of the variable, as in `layers/dense/vars/0`.
        shape: that it must have; any where None.

    Raises:
        Refused: VFL0503, h5py is not installed; VFL0700, it is not in the file as it should be.
    """
    return WeightsFile(archive).read(name, shape)


class WeightsFile:
    """The HDF5 file of an archive, opened once."""

    def __init__(self, archive: Archive) -> None:
        try:
            import h5py
        except ImportError:
            refuse(
                "VFL0503",
                "h5py, which reads weights of Keras's files, is not installed",
                'pip install "vflc[keras]"',
            )
        self._h5py, self._archive = h5py, archive
        try:
            self._file = h5py.File(archive.weights(), "r")
        except (OSError, ValueError, RuntimeError, KeyError):
            refuse("VFL0700", f"{archive.path} holds weights that cannot be read", "save the model again")

    def read(self, name: str, shape: tuple[int, ...] | None = None) -> Any:
        """See `read`."""
        from vflc_common.numpy import np

        at: Any = self._file
        try:
            for each in name.split("/"):
                link = at.get(each, getlink=True)
                if not isinstance(link, self._h5py.HardLink):  # others lead out of the file
                    self._absent(name)
                at = at[each]
            plain = isinstance(at, self._h5py.Dataset) and not at.external and not at.is_virtual
            if not plain or at.dtype.kind not in "fiu" or at.size > MOST_VALUES:
                self._absent(name)
            # a weight by itself is the kernel of a layer on a one
            if shape is not None and tuple(at.shape) not in (shape, (1, prod(shape))):
                refuse(
                    "VFL0700",
                    f"{self._archive.path} has {list(at.shape)} numbers for {name}, not {list(shape)}",
                    "save the model again",
                )
            found = np.asarray(at[()])
            found = found if shape is None else found.reshape(shape)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, MemoryError):
            self._absent(name)
        if not np.isfinite(found).all():
            refuse(
                "VFL0700", f"{self._archive.path} has numbers that are not finite in {name}", "train it again"
            )
        return found

    def _absent(self, name: str) -> Any:
        refuse("VFL0700", f"{self._archive.path} holds no weights {name}", "save the model again")
