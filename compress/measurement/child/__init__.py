"""Runs foreign ONNX files in a process of their own."""
