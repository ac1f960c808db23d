"""Runtimes beside ONNX Runtime in which models are measured."""
