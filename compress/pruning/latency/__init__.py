"""Latency foretold from a table of this machine's operators."""
