"""Unstructured and N:M sparsity: zeros in weights."""
