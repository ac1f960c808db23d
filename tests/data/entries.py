"""A Python source whose samples a test sets."""

SAMPLES = {}
OTHER = {}


def load():
    return SAMPLES


def load_other():
    return OTHER
