"""One NVIDIA GPU: onnxruntime's CUDA provider, and the few calls of CUDA's runtime that copy to and fro.

All sessions and copies use one stream, so that each sees what those before it left, and nobody waits but
who reads.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import vflc_kernels
from numpy.typing import DTypeLike
from onnxruntime.capi import onnxruntime_pybind11_state as native
from vflc_common.arrays import Array

from vflc_runtime.engines.cuda_kernels import KernelCompiler
from vflc_runtime.engines.device import DeviceArray
from vflc_runtime.engines.onnx_session import onnx_errors
from vflc_runtime.errors import Failure

if TYPE_CHECKING:
    import onnx

PROVIDER = "CUDAExecutionProvider"
_LIBRARIES = ("libcudart.so.13", "libcudart.so.12")
_OUT_OF_MEMORY, _NO_TIMING = 2, 2
_TO_DEVICE, _TO_HOST, _ON_DEVICE = 1, 2, 3
_INSTALL = "install the build for GPUs in place of the other: `pip uninstall onnxruntime`, then `pip install \
--force-reinstall 'onnxruntime-gpu[cuda,cudnn]'`; or leave --device cuda out"


@cache
def cuda() -> CudaDevice:
    """The GPU of this process.

    Raises:
        Failure: VFL0785, onnxruntime was not built for GPUs; VFL0786, there is none that can be used.
    """
    if PROVIDER not in onnxruntime.get_available_providers():
        what = f"the onnxruntime {onnxruntime.__version__} here runs on the processor alone"
        raise Failure("VFL0785", what, _INSTALL)
    return CudaDevice(_Runtime())


def unusable(why: str) -> Failure:
    """VFL0786: there is no GPU, or nothing that drives it."""
    return Failure(
        "VFL0786",
        f"no GPU can be used: {why}",
        "look at what `nvidia-smi` says; CUDA and cuDNN as onnxruntime-gpu needs them come with "
        "`pip install 'onnxruntime-gpu[cuda,cudnn]'`; or leave --device cuda out",
    )


def out_of_memory(wanted: str = "") -> Failure:
    """VFL0787: the GPU's memory does not suffice."""
    return Failure(
        "VFL0787",
        f"the GPU has no memory left{wanted}",
        "choose a smaller batch, end other programs on the GPU, or leave --device cuda out",
    )


class _Runtime:
    """CUDA's runtime library, as onnxruntime loads it."""

    def __init__(self) -> None:
        if hasattr(onnxruntime, "preload_dlls"):
            with suppress(Exception):  # what is missing is told below, or by the first session
                onnxruntime.preload_dlls()
        for name in _LIBRARIES:
            with suppress(OSError):
                self._library = ctypes.CDLL(name)
                break
        else:
            raise unusable(f"CUDA's runtime library is not found ({' or '.join(_LIBRARIES)})")
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        self("cudaGetDeviceCount", ctypes.byref(count))
        if not count.value:
            raise unusable("none is found")
        self.stream, self.copying = ctypes.c_void_p(), ctypes.c_void_p()
        for each in (self.stream, self.copying):
            self("cudaStreamCreate", ctypes.byref(each))

    def __call__(self, name: str, *arguments: Any) -> None:
        """Calls a function; VFL0787 or VFL0786 where it fails."""
        status = getattr(self._library, name)(*arguments)
        if status == _OUT_OF_MEMORY:
            raise out_of_memory()
        if status:
            raise unusable(f"{name}: {self._library.cudaGetErrorString(status).decode()}")


class _Memory:
    """Memory of the GPU, or of this machine where the GPU reads it directly; given back with the object."""

    def __init__(self, runtime: _Runtime, size: int, pinned: bool = False) -> None:
        self._runtime, self._free = runtime, "cudaFreeHost" if pinned else "cudaFree"
        self.pointer = ctypes.c_void_p()
        bytes_ = ctypes.c_size_t(max(size, 1))
        self._runtime("cudaMallocHost" if pinned else "cudaMalloc", ctypes.byref(self.pointer), bytes_)

    def __del__(self) -> None:
        if not sys.is_finalizing() and self.pointer:
            with suppress(Failure):
                self._runtime(self._free, self.pointer)


class _Mark:
    """A place in the stream; it lives as long as what sets it anew for every batch."""

    def __init__(self, runtime: _Runtime) -> None:
        self.event = ctypes.c_void_p()
        runtime("cudaEventCreateWithFlags", ctypes.byref(self.event), ctypes.c_uint(_NO_TIMING))


class CudaDevice:
    """See `Device`. Products are of whole float32 numbers: TF32, which rounds to 10 bits, is off."""

    captures = True

    def __init__(self, runtime: _Runtime) -> None:
        self._runtime = runtime
        onnxruntime.set_default_logger_severity(4)  # of each session it warns that no plug-in is registered
        self.ort = native.OrtDevice(native.OrtDevice.cuda(), native.OrtDevice.default_memory(), 0)
        self._kernels = KernelCompiler(runtime, int(runtime.stream.value or 0))
        self._options = native.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def session(self, model: bytes, threads: int, double: bool, capture: bool) -> Any:
        """See `Device`; VFL0786 where onnxruntime cannot use the GPU."""
        options = onnxruntime.SessionOptions()
        if (library := vflc_kernels.library()) is not None:
            options.register_custom_ops_library(library)
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if double:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        provider = {
            "device_id": "0",
            "user_compute_stream": str(self._runtime.stream.value),
            "use_tf32": "0",
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
            "enable_cuda_graph": "1" if capture else "0",
        }
        providers = [(PROVIDER, provider), "CPUExecutionProvider"]
        made = onnxruntime.InferenceSession(model, options, providers=providers)
        if PROVIDER not in made.get_providers():
            raise unusable("onnxruntime cannot load its CUDA provider: CUDA or cuDNN is missing, or too old")
        return made._sess

    def fitted(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """See `Device`: elementwise operators become kernels of the GPU."""
        return self._kernels.replaced(model)

    def run(self, session: Any, binding: Any) -> None:
        """See `Device`; VFL0787 where memory does not suffice."""
        try:
            session.run_with_iobinding(binding, self._options)
        except onnx_errors() as error:
            if "memory" in str(error) and "alloc" in str(error).lower():
                raise out_of_memory() from None
            raise

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """See `Device`; VFL0787 where there is no memory left."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        try:
            memory = _Memory(self._runtime, size)
        except Failure as failure:
            more = f" for {size / 1e6:,.0f} MB more"
            raise (out_of_memory(more) if failure.code == "VFL0787" else failure) from None
        return DeviceArray(self, int(memory.pointer.value or 0), shape, dtype, memory)

    def staging(self, size: int) -> Array:
        """See `Device`: pages that stay where they are, which the GPU reads by itself."""
        memory = _Memory(self._runtime, size, pinned=True)
        buffer: Any = (ctypes.c_uint8 * max(size, 1)).from_address(int(memory.pointer.value or 0))
        buffer.memory = memory  # lives as long as what numpy sees
        return np.asarray(np.frombuffer(buffer, np.uint8)[:size])

    def _move(self, target: int, source: int, size: int, kind: int, stream: Any = None) -> None:
        where = ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size)
        self._runtime("cudaMemcpyAsync", *where, ctypes.c_int(kind), stream or self._runtime.stream)

    def write(self, target: DeviceArray, source: Array) -> None:
        """See `Device`."""
        self._move(target.pointer, source.ctypes.data, target.nbytes, _TO_DEVICE)

    def read(self, source: DeviceArray, mark: Any = None) -> Array:
        """See `Device`. What is read at a mark is copied beside whatever is under way since."""
        found, stream = np.empty(source.shape, source.dtype), self._runtime.stream
        if mark is not None:
            stream = self._runtime.copying
            self._runtime("cudaStreamWaitEvent", stream, mark.event, ctypes.c_uint(0))
        self._move(found.ctypes.data, source.pointer, source.nbytes, _TO_HOST, stream)
        self._runtime("cudaStreamSynchronize", stream)
        return found

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """See `Device`."""
        self._move(target.pointer, source.pointer, source.nbytes, _ON_DEVICE)

    def mark(self, again: Any = None) -> Any:
        """See `Device`."""
        mark = again or _Mark(self._runtime)
        self._runtime("cudaEventRecord", mark.event, self._runtime.stream)
        return mark

    def wait(self, mark: Any = None) -> None:
        """See `Device`."""
        if mark is None:
            self._runtime("cudaStreamSynchronize", self._runtime.stream)
        else:
            self._runtime("cudaEventSynchronize", mark.event)
