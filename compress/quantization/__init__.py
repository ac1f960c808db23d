"""INT8 models for ONNX Runtime: dynamic, or static with calibrated activations."""
