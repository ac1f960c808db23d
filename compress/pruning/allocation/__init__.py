"""How many units of each group go."""
