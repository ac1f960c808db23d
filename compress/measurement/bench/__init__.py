"""`compress bench`: times ONNX files against one another."""
