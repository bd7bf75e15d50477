"""Where arrays lie and graphs run. The processor is a device like any other: what is bound is the same."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike
from vflc_common.arrays import Array

from vflc_runtime.engines.onnx_session import CPU, session

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx


class DeviceArray:
    """A contiguous array on a device, at an address. It becomes a numpy array where numpy reads it.

    Args:
        device: whose memory it is in.
        pointer: the address there.
        shape: [*shape].
        dtype: of its numbers.
        owner: what keeps the memory.
    """

    __slots__ = ("device", "dtype", "is_finite", "nbytes", "owner", "pointer", "shape", "size")

    def __init__(
        self, device: Device, pointer: int, shape: Sequence[int], dtype: DTypeLike, owner: object
    ) -> None:
        self.device, self.pointer, self.owner = device, pointer, owner
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize
        self.is_finite: bool | None = None

    def part(self, start: int, shape: Sequence[int]) -> DeviceArray:
        """The array [*shape] that begins at the number `start` of this one."""
        return DeviceArray(
            self.device, self.pointer + start * self.dtype.itemsize, shape, self.dtype, self.owner
        )

    def numpy(self) -> Array:
        """A copy."""
        return self.device.read(self)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        found = self.numpy()
        return found if dtype is None else found.astype(dtype, copy=False)


class Device(Protocol):
    """What an engine needs of where it runs.

    Attributes:
        ort: what onnxruntime calls it.
        captures: whether what a session does can be recorded and done again at one call.
    """

    ort: Any
    captures: bool

    def session(self, model: bytes, threads: int, double: bool, capture: bool) -> Any:
        """The native session of a serialised model; where it is to `capture`, onnxruntime may refuse."""
        ...

    def fitted(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A model, whose inputs have known shapes, as it is fastest here."""
        ...

    def run(self, session: Any, binding: Any) -> None:
        """Runs a session on what is bound. The device may still be at work on it when this returns."""
        ...

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """Memory for an array [*shape]; VFL0787 where there is none left."""
        ...

    def staging(self, size: int) -> Array:
        """Bytes [size] of this machine from which `write` is fastest."""
        ...

    def write(self, target: DeviceArray, source: Array) -> None:
        """Copies numbers [*] to the device. `source` must stay as it is until `wait` has returned."""
        ...

    def read(self, source: DeviceArray, mark: Any = None) -> Array:
        """A copy of an array [*] as it is after all that was asked for so far, or before `mark` was set."""
        ...

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Copies on the device."""
        ...

    def mark(self, again: Any = None) -> Any:
        """Where all is done that was asked for so far; `again` is one that is needed no more."""
        ...

    def wait(self, mark: Any = None) -> None:
        """Returns when all is done that was asked for, or what was asked for before `mark` was set."""
        ...


class Processor:
    """The processor, with the bindings of a GPU; nothing is captured."""

    ort, captures = CPU, False

    def session(self, model: bytes, threads: int, double: bool, capture: bool) -> Any:
        """See `Device`."""
        return session(model, threads, double)

    def fitted(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """See `Device`."""
        return model

    def run(self, session: Any, binding: Any) -> None:
        """See `Device`."""
        session.run_with_iobinding(binding, None)

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """See `Device`."""
        memory = np.empty(tuple(shape), dtype)
        return DeviceArray(self, memory.ctypes.data, shape, dtype, memory)

    def staging(self, size: int) -> Array:
        """See `Device`."""
        return np.empty(size, np.uint8)

    def write(self, target: DeviceArray, source: Array) -> None:
        """See `Device`."""
        ctypes.memmove(target.pointer, source.ctypes.data, target.nbytes)

    def read(self, source: DeviceArray, mark: Any = None) -> Array:
        """See `Device`."""
        found = np.empty(source.shape, source.dtype)
        ctypes.memmove(found.ctypes.data, source.pointer, source.nbytes)
        return found

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """See `Device`."""
        ctypes.memmove(target.pointer, source.pointer, source.nbytes)

    def mark(self, again: Any = None) -> Any:
        """Nothing is under way here when a call returns."""
        return None

    def wait(self, mark: Any = None) -> None:
        """See `mark`."""
