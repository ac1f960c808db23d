"""Small texts that mean something, as Python sources of data."""

import itertools

COLOURS = ("red", "green", "blue")


def sets_of_colours(with_labels=True):
    """Texts that name some colours; the label is the list of them."""
    subsets = [
        list(chosen) for size in range(4) for chosen in itertools.combinations(COLOURS, size)
    ]
    samples = []
    for thing in ("car", "house", "sky", "bird", "boat", "tree"):
        for chosen in subsets:
            sample = {"text": f"the {thing} is {' and '.join(chosen) or 'plain'}"}
            samples.append(sample | ({"label": chosen} if with_labels else {}))
    return {"train": samples * 3, "test": samples}


def is_red():
    """The same texts; the label is 1 where one is red."""
    return {
        split: [
            {"text": sample["text"], "label": int("red" in sample["label"])} for sample in samples
        ]
        for split, samples in sets_of_colours().items()
    }


def tagged():
    """Words whose tags aren't named in IOB2."""
    return {"train": [{"tokens": ["a", "car"], "label": ["word", "thing"]}] * 8}
