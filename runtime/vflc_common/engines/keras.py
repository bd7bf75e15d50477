"""TensorFlow."""

from vflc_common.engine import EngineRecord, later

ENGINE = EngineRecord(
    name="keras",
    doc="TensorFlow, on a GPU if any",
    reads="keras",
    make=later("vflc_runtime.engines.keras:KerasEngine"),
    library="tensorflow",
    extra="keras",
    runners=later("vflc_runtime.engines.population_keras:keras_runners"),
    dense=later("vflc_runtime.verify.dense:DenseUpdates"),
)
