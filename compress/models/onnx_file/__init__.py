"""A given ONNX file as the model that a run begins with, from whichever exporter."""
