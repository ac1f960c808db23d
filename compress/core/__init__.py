"""The contracts that everything else is built on. Nothing here imports torch at run time."""
