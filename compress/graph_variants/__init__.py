"""Float graphs that compute the same function, among which a quantization chooses by measuring."""
