"""Tasks on texts that follow the contract."""
