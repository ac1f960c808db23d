"""Measures a model's cost and quality from its ONNX file, in ONNX Runtime on the CPU."""
