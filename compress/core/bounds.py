"""How large the numbers of a recipe may be: above what anybody runs, below what never ends or
takes more memory than there is."""

MOST_SAMPLES = 10**12
"""Of a split: more than any data set has."""
MOST_SAMPLES_AT_ONCE = 65_536
"""Of a batch."""
MOST_EPOCHS = 100_000
"""Of one training, which keeps a history of them."""
MOST_BATCHES_A_STEP = 65_536
"""Batches whose gradients make one step."""
MOST_TOKENS = 1_048_576
"""Of a text: every sample may take as much memory."""
MOST_PIXELS_A_SIDE = 8192
"""Of an image."""
MOST_LAYERS = 10_000
"""Of a model; each is a module."""
MOST_UNITS = 1_000_000
"""In a layer: neurons, heads, channels, the classes or tokens of an output."""
HEAVIEST = 1e6
"""Of a weight, a factor or a limit: beyond it a float32 loses the rest of a sum."""
