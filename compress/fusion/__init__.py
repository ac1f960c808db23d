"""Graphs rewritten so that ONNX Runtime runs them faster."""
