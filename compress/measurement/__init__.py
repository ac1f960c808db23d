"""What a model costs and how well it answers: all from its ONNX file, in ONNX Runtime on CPU."""
