"""What executes subgraphs: onnxruntime, or TensorFlow."""
