"""An ONNX graph as a torch module that can be trained."""
