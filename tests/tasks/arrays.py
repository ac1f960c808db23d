"""Small data sets of arrays, made from a seed."""

import numpy as np

COUNT = 400


def signals() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    label = random.integers(0, 4, COUNT)
    time = np.arange(48)
    waves = np.stack([np.sin(time * (kind + 1) / 6)[None].repeat(3, 0) for kind in label])
    return {
        "signal": (waves + random.normal(0, 0.4, waves.shape)).astype(np.float32),
        "label": label,
    }


def table() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    features = random.normal(size=(COUNT, 6)).astype(np.float32)
    price = features[:, 0] * 2 - features[:, 1] + 0.1 * random.normal(size=COUNT)
    return {"features": features, "label": price.astype(np.float32)}


def steps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    values = random.normal(size=(COUNT, 10, 2)).astype(np.float32)
    tags = (values[:, :, 0] > 0).astype(np.int64) + (values[:, :, 1] > 0)
    tags[:, 0] = -100
    return {"steps": values, "label": tags}


def ids_and_numbers() -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    ids = random.integers(1, 50, (COUNT, 7))
    numbers = random.normal(size=(COUNT, 4)).astype(np.float32)
    mask = (np.arange(7) < random.integers(2, 8, COUNT)[:, None]).astype(np.int64)
    label = (numbers[:, 0] + (ids[:, 0] > 25) > 0.5).astype(np.int64)
    return {"input_ids": ids * mask, "attention_mask": mask, "numbers": numbers, "label": label}


def pairs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    one = random.normal(size=(COUNT, 6)).astype(np.float32)
    other = random.normal(size=(COUNT, 4)).astype(np.float32)
    kinds = np.array(["ant", "bee", "cat"])[one[:, :3].argmax(1)]
    box = np.stack([one[:, 0] + other[:, 0], one[:, 1], other[:, 2], one[:, 3]], 1)
    return {"table": one, "extra": other, "kind": kinds, "box": box.astype(np.float32)}


def scenes() -> dict[str, np.ndarray]:
    """Images (N, 1, 12, 12) of a bright or a dark square, and the class of each pixel."""
    random = np.random.default_rng(5)
    images = random.normal(0, 0.3, (COUNT, 1, 12, 12))
    label = np.zeros((COUNT, 12, 12), np.int64)
    for image, classes in zip(images[:, 0], label, strict=True):
        (top, left), side, kind = (
            random.integers(0, 7, 2),
            random.integers(3, 6),
            random.integers(2),
        )
        image[top : top + side, left : left + side] += 2 if kind else -2
        classes[top : top + side, left : left + side] = 1 + kind
    label[:, 0] = -100
    return {"image": images.astype(np.float32), "label": label}


def sounds() -> dict[str, np.ndarray]:
    """Sounds (N, 1, 64) of eight letters, each a tone of eight steps, and the letters."""
    random = np.random.default_rng(6)
    letters = random.integers(1, 4, (COUNT, 8))  # a blank between words, and two letters
    time = np.arange(8)
    tones = np.stack([np.sin(time * pitch) for pitch in (0.0, 0.4, 1.2, 2.4)])
    sound = tones[letters].reshape(COUNT, 1, 64)
    return {
        "sound": (sound + random.normal(0, 0.2, sound.shape)).astype(np.float32),
        "label": letters,
    }


def things() -> dict[str, np.ndarray]:
    """Numbers (N, 6) that tell of a box and its kind with some noise; its corners and its kind."""
    random = np.random.default_rng(7)
    low, size = random.random((COUNT, 2)), random.uniform(0.5, 1, (COUNT, 2))
    box, kind = np.hstack([low, low + size]), random.integers(0, 2, COUNT)
    seen = np.column_stack([low, size, kind, 1 - kind])
    table = seen + random.normal(0, 0.05, seen.shape)
    return {"table": table.astype(np.float32), "box": box.astype(np.float32), "kind": kind}
