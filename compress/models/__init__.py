"""Loading models, and rebuilding changed ones without pickle."""
