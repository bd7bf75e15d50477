"""onnxruntime on a GPU."""

from vflc_common.engine import EngineRecord, later

ENGINE = EngineRecord(
    name="cuda",
    doc="onnxruntime, on an NVIDIA GPU: what `--device cuda` makes of `onnx`",
    reads="onnx",
    make=later("vflc_runtime.engines.onnx_device:cuda_engine"),
    library="onnxruntime",
    extra="gpu",
    device="cuda",
)
