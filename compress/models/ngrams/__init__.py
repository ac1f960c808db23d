"""Classifiers that average embeddings of n-grams, without attention."""
