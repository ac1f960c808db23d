"""Low-rank factorisation: layers that become two smaller ones."""
