"""Other float graphs of the same function, among which a quantization chooses by measuring."""
