"""Exports a torch module to a checked ONNX file, and to a folder that can be deployed."""
