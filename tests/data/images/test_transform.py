import json

import numpy as np
import pytest
import torch
from PIL import Image

from compress.data.images.transform import ImagePreprocessor, Transform
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.errors import DataError
from compress.tasks.task import task

IMAGES = task("image-classification")
DIGITS = DataSpec(sklearn="digits")


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def saved(folder, processor):
    processor.save_pretrained(folder)
    return load_preprocessor(str(folder), task=IMAGES, spec=DIGITS)


def test_scaling_and_normalising():
    spec = DataSpec(sklearn="digits", image={"mean": [0.5], "std": [0.25]})
    made = load_preprocessor(None, task=IMAGES, spec=spec)(np.array([[[0, 255]]], np.uint8))
    assert made["pixel_values"].shape == (1, 1, 1, 2)
    assert torch.allclose(made["pixel_values"].flatten(), torch.tensor([-2.0, 2.0]))
    assert made["pixel_values"].dtype == torch.float32


def test_an_array_and_a_list_of_images_give_the_same():
    batch = pixels(5, 9, 7)
    preprocess = ImagePreprocessor(Transform(size=(6, 6), channels=3, mean=(0.1, 0.2, 0.3)))
    one = preprocess(batch)["pixel_values"]
    other = preprocess([Image.fromarray(image) for image in batch])["pixel_values"]
    assert one.shape == (5, 3, 6, 6)
    assert torch.equal(one, other)
    plain = ImagePreprocessor()
    assert torch.equal(plain(batch)["pixel_values"], plain(list(batch))["pixel_values"])


def test_modes_and_channels():
    grey, colour = (
        ImagePreprocessor(Transform(channels=1)),
        ImagePreprocessor(Transform(channels=3)),
    )
    palette = Image.fromarray(pixels(4, 4, 3)).convert("P")
    assert grey([palette])["pixel_values"].shape == (1, 1, 4, 4)
    assert colour([palette, pixels(4, 4), pixels(4, 4, 4)])["pixel_values"].shape == (3, 3, 4, 4)
    repeated = colour(pixels(2, 4, 4))["pixel_values"]
    assert torch.equal(repeated[:, 0], repeated[:, 2])


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ([pixels(4, 4), pixels(4, 5)], r"differ in .*Say what they shall become with 'image"),
        ([np.zeros((4, 4), np.float32)], r"Got an array \(4, 4\) of float32"),
        ([Image.new("I;16", (4, 4))], "Got an image of mode I;16"),
        ([None], "Got nothing"),
    ],
)
def test_what_is_no_image_is_refused(images, problem):
    with pytest.raises(DataError, match=problem):
        ImagePreprocessor()(images)


def test_a_vit_processor_works_without_torchvision(tmp_path):
    from transformers import ViTImageProcessorPil

    processor = ViTImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.4, 0.5, 0.6])
    preprocess = saved(tmp_path / "model", processor)
    images = [pixels(31, 23, 3), pixels(16, 16, 3, seed=1)]
    expected = processor(images, return_tensors="np", input_data_format="channels_last")
    made = preprocess(images)["pixel_values"].numpy()
    assert np.allclose(made, expected["pixel_values"], atol=1e-5)
    assert preprocess(pixels(2, 28, 28))["pixel_values"].shape == (2, 3, 16, 16)

    preprocess.save(tmp_path / "bundle")
    constants = json.loads((tmp_path / "bundle" / "preprocessing.json").read_text())
    assert constants["exact"]
    assert constants["size"] == [16, 16]
    assert constants["mean"] == [0.4, 0.5, 0.6]
    again = load_preprocessor(str(tmp_path / "bundle"), task=IMAGES, spec=DIGITS)
    assert again.fingerprint == preprocess.fingerprint


def test_processors_that_crop_are_reduced_too(tmp_path):
    from transformers import CLIPImageProcessorPil, ConvNextImageProcessorPil

    clip = CLIPImageProcessorPil(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 18})
    for name, processor in (
        ("clip", clip),
        ("convnext", ConvNextImageProcessorPil(size={"shortest_edge": 16})),
    ):
        preprocess = saved(tmp_path / name, processor)
        assert preprocess.transform is not None, name
        assert preprocess.transform.resize_shortest_edge is not None, name
        images = [pixels(41, 33, 3), pixels(29, 67, 3)]
        expected = processor(images, return_tensors="np", input_data_format="channels_last")
        assert np.allclose(preprocess(images)["pixel_values"], expected["pixel_values"], atol=1e-4)


def test_a_processor_that_no_constants_describe_is_used_itself(tmp_path):
    from transformers import CLIPImageProcessorPil

    # The crop is larger than the resized image: the processor pads, which no constant says.
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 8}, crop_size={"height": 60, "width": 60}
    )
    preprocess = saved(tmp_path / "model", processor)
    assert preprocess.transform is None
    assert preprocess([pixels(12, 12)])["pixel_values"].shape == (1, 3, 60, 60)
    preprocess.save(tmp_path / "bundle")
    constants = json.loads((tmp_path / "bundle" / "preprocessing.json").read_text())
    assert not constants["exact"]


def test_a_grey_processor_gets_grey_images(tmp_path):
    from transformers import ViTImageProcessorPil

    processor = ViTImageProcessorPil(
        size={"height": 8, "width": 8}, image_mean=[0.5], image_std=[0.5]
    )
    preprocess = saved(tmp_path / "model", processor)
    assert preprocess(pixels(3, 8, 8))["pixel_values"].shape == (3, 1, 8, 8)


def test_the_recipes_preprocessing_comes_first(tmp_path):
    from transformers import ViTImageProcessorPil

    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    spec = DataSpec(sklearn="digits", image={"size": [4, 4]})
    preprocess = load_preprocessor(str(tmp_path), task=IMAGES, spec=spec)
    assert preprocess(pixels(1, 8, 8))["pixel_values"].shape == (1, 1, 4, 4)
    assert preprocess.fingerprint != ImagePreprocessor().fingerprint


def test_a_folder_without_a_processor(tmp_path):
    with pytest.raises(DataError, match=r"the image processor of .* can't be loaded.*data.image"):
        load_preprocessor(str(tmp_path), task=IMAGES, spec=DIGITS)
    with pytest.raises(DataError, match="there is no folder"):
        load_preprocessor(str(tmp_path / "none"), task=IMAGES, spec=DIGITS)
