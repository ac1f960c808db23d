"""An ONNX file's answers, compared with those of its module."""
