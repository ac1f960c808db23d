"""Low-rank factorization: replaces a layer by two smaller ones."""
