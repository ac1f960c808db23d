"""Files and paths: whole or not there, sealed, owned, confined."""
