"""onnxruntime."""

from vflc_common.engine import EngineRecord, later

ENGINE = EngineRecord(
    name="onnx",
    doc="onnxruntime, on the CPU",
    reads="onnx",
    make=later("vflc_runtime.engines.onnx:OnnxEngine"),
    library="onnxruntime",
    runners=later("vflc_runtime.engines.population_runners:onnx_runners"),
)
