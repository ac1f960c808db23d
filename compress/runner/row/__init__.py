"""Parts of a row of the ledger."""
