"""A teacher's answers on disk: computed once, read by all epochs and later stages."""
