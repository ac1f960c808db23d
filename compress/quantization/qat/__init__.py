"""Quantization-aware training (QAT)."""
