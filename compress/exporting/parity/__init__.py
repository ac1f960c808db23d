"""Compares an ONNX file's answers with those of its module."""
