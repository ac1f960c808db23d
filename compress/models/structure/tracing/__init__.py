"""Groups of channels, found by tracing a module."""
