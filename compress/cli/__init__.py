"""The command. `compress --help` imports nothing but its options."""

from compress.cli.command import main

__all__ = ["main"]
