"""`compress bench`: ONNX files timed against one another."""
