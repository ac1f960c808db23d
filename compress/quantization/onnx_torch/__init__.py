"""An ONNX graph, fake quantization included, as a torch module."""
