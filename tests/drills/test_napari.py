"""A scan of a dataset, dropped into napari: it opens with its channels, classes and scale, without any setting.

Runs in an environment that has napari and not unetseg (``make test-napari``); the dataset comes from
napari_dataset.py, by way of the folder in ``UNETSEG_NAPARI``.
"""

from __future__ import annotations

import json
import os
from itertools import compress
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.napari

# Okabe and Ito, as the dataset's classes are coloured; where classes overlap, the mean
COLOURS = np.array([[0xE6, 0x9F, 0x00], [0x56, 0xB4, 0xE9], [0xCC, 0x79, 0xA7]])


@pytest.fixture(scope="module")
def folder():
    pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed; make test-napari does")
    if not os.environ.get("UNETSEG_NAPARI"):
        pytest.skip("UNETSEG_NAPARI does not name the folder that napari_dataset.py has filled")
    return Path(os.environ["UNETSEG_NAPARI"])


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text()) | dict(np.load(folder / "expected.npz"))


@pytest.fixture(scope="module")
def layers(expected):
    """Layers as napari makes them of what its reader found; the window alone is missing."""
    from napari.components import ViewerModel
    from napari_ome_zarr import napari_get_reader

    viewer = ViewerModel()
    for data, options, kind in napari_get_reader(expected["scan"])(expected["scan"]):
        getattr(viewer, f"add_{kind}")(data, **options)
    return list(viewer.layers)


def test_each_channel_is_an_image_and_the_classes_are_labels(layers, expected):
    kinds = [(type(layer).__name__, layer.name.rpartition(" ")[2]) for layer in layers]
    assert kinds == [*(("Image", name) for name in ("red", "green", "blue")), ("Labels", "labels/labels/classes")]
    assert expected["channels"] == ["red", "green", "blue"]
    assert all(layer.name.startswith(expected["name"]) for layer in layers[:3])


def test_images_have_their_pixels_colours_and_contrast(layers, expected):
    for at, layer in enumerate(layers[:3]):
        np.testing.assert_array_equal(np.asarray(layer.data), expected["image"][at])
        assert layer.contrast_limits == [0, 1]
        assert layer.colormap.colors[-1].tolist() == [*(float(at == part) for part in range(3)), 1]
        assert layer.visible


def test_everything_is_in_micrometres(layers, expected):
    height, width = expected["fields"].shape
    for layer in layers:
        corner = layer.data_to_world((height, width))
        np.testing.assert_allclose(corner, np.multiply((height, width), expected["pixel_size"]))


def test_labels_hold_the_classes_of_each_pixel(layers, expected):
    np.testing.assert_array_equal(np.asarray(layers[-1].data), expected["fields"])
    assert len(np.unique(expected["fields"])) == 4  # background; sclera; with iris; with pupil


def test_labels_are_named_and_coloured(layers, expected):
    labels = layers[-1]
    names = dict(zip(labels.properties["index"], labels.properties["class"], strict=True))
    for value in np.unique(expected["fields"]):
        if value:
            members = [bool(value >> k & 1) for k in range(3)]
            assert names[value] == " + ".join(compress(expected["classes"], members))
            colour = COLOURS[members].sum(axis=0) // sum(members)
            np.testing.assert_allclose(labels.get_color(value)[:3], colour / 255, atol=1e-6)
