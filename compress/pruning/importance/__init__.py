"""The importance of units: one criterion in each file."""
