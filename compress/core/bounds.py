"""Upper bounds of the numbers in a recipe.

Each is above what anybody runs, and below what never ends or takes more memory than there is.
"""

MOST_SAMPLES = 10**12
"""Samples in a split: more than any data set has."""
MOST_SAMPLES_AT_ONCE = 65_536
"""Samples in a batch."""
MOST_EPOCHS = 100_000
"""Epochs of one training, which keeps a record of each."""
MOST_BATCHES_A_STEP = 65_536
"""Batches whose gradients are accumulated for one optimizer step."""
MOST_TOKENS = 1_048_576
"""Tokens of a text: every sample may take as much memory."""
MOST_PIXELS_A_SIDE = 8192
"""Height or width of an image, in pixels."""
MOST_LAYERS = 10_000
"""Layers of a model; each is a module."""
MOST_UNITS = 1_000_000
"""Units in a layer: neurons, heads, channels, the classes or tokens of an output."""
MOST_BUCKETS = 100_000_000
"""Rows of a table of n-grams; with 34 numbers each they take 14 GB."""
HEAVIEST = 1e6
"""Value of a weight, a factor or a limit: beyond it a float32 loses the rest of a sum."""
