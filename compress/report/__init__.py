"""The ledger of a run: its public JSON format, and how it is shown."""
