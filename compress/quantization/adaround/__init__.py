"""AdaRound (Nagel et al., 2020)."""
