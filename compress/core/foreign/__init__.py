"""Foreign code: it is found and called here, and its errors get a name."""
