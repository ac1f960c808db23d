"""Runs a recipe: the pipeline, the folder it leaves, the ledger and the gates."""
