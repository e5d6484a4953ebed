from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from scripts.active.neighbours import build_graph, jensen_shannon, neighbour_graph
from scripts.core.errors import InputError
from scripts.data.histograms import colour_histogram, normalise_histogram, smooth, soft_histogram


def _direct_histogram(values, bins, sharpness):
    """The formula as it stands: every value against every bin."""
    with np.errstate(over="ignore"):
        edges = np.arange(bins + 1) / bins
        above = 1.0 / (1.0 + np.exp(-sharpness * (values.reshape(-1, 1) - edges)))
    return (above[:, :-1] - above[:, 1:]).sum(axis=0)


def _direct_jsd(p, q):
    m = (p + q) / 2
    return 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()


def test_histograms_and_divergence_equal_golden(golden):
    data = golden("histogram_jsd")
    images = {key: np.array(data[key], dtype=np.float64) / 255 for key in ("image_uint8", "image2_uint8")}
    first = np.stack([soft_histogram(channel, 16, 1e5) for channel in images["image_uint8"]])
    second = np.stack([soft_histogram(channel, 16, 1e5) for channel in images["image2_uint8"]])
    np.testing.assert_allclose(first, data["hist16"], atol=1e-5)
    np.testing.assert_allclose(second, data["hist16_image2"], atol=1e-5)
    divergence = jensen_shannon(normalise_histogram(first)[None], normalise_histogram(second)[None])
    np.testing.assert_allclose(divergence[0, 0], data["jsd_per_channel_16bins"], atol=1e-5)


def _dense(pairs, bins):
    rows = np.zeros((len(pairs), bins))
    for row, channel in zip(rows, pairs, strict=True):
        for index, value in channel:
            row[index] = value
    return rows


def test_fine_histogram_and_smoothing_equal_golden(golden):
    data = golden("histogram_jsd")
    values = np.array(data["image_uint8"], dtype=np.float64) / 255  # (3, 6, 7)
    counts = np.stack([soft_histogram(channel, 256, 1e5) for channel in values])
    np.testing.assert_allclose(counts, _dense(data["hist256_nonzero_bin_value"], 256), atol=1e-5)

    smoothed = smooth(values.transpose(1, 2, 0), 3, 0.9).transpose(2, 0, 1)
    np.testing.assert_allclose(smoothed, data["smoothed"], atol=1e-5)
    counts = np.stack([soft_histogram(channel, 256, 1e5) for channel in smoothed])
    np.testing.assert_allclose(counts, _dense(data["hist256_of_smoothed_nonzero"], 256), atol=1e-2)

    impulse = np.zeros((5, 5, 1))
    impulse[2, 2] = 1.0
    np.testing.assert_allclose(smooth(impulse, 3, 0.9)[1:4, 1:4, 0], data["gaussian_kernel_3x3"], atol=1e-6)


def _golden_features(data):
    features, class_of = {}, {}
    for image in data["images"]:
        rgb = np.array(image["rgb_rows"], dtype=np.uint8).reshape(image["h"], image["w"], 3)
        features[image["id"]] = colour_histogram(rgb)
        class_of[image["id"]] = image["label"]
    return features, class_of


def test_pairwise_distances_equal_golden(golden):
    data = golden("pairwise_similarity")
    features, class_of = _golden_features(data)
    graph = neighbour_graph(features, class_of, k=40)
    for name, expected in data["per_class"].items():
        stack = np.stack([features[id_] for id_ in expected["ids"]])
        divergence = jensen_shannon(stack, stack)
        np.testing.assert_allclose(divergence.sum(axis=(0, 1)), expected["z_rgb"], atol=5e-3)
        for row, id_ in enumerate(expected["ids"]):
            np.testing.assert_allclose(divergence[row], expected["jsd_rgb_per_pair"][id_], atol=5e-4)
            position = graph.ids.index(id_)
            others = [graph.ids[index] for index in graph.neighbours[position] if index >= 0]
            assert sorted(others) == sorted(set(expected["ids"]) - {id_})
            wanted = dict(zip(expected["ids"], expected["normalised_distance_row"][id_], strict=True))
            found = graph.distances[position, : len(others)]
            np.testing.assert_allclose(found, [wanted[other] for other in others], atol=2e-4)
            assert {class_of[other] for other in others} == {name}


def test_image_steps_before_the_histogram_equal_golden(golden):
    data = golden("pairwise_similarity")
    for image, expected in zip(data["images"], data["after_resize"], strict=True):
        rgb = np.array(image["rgb_rows"], dtype=np.uint8).reshape(image["h"], image["w"], 3)
        # one bin of all values, smoothed by nothing: only the size of the resized image is left in the counts
        vivid = ImageEnhance.Color(Image.fromarray(rgb)).enhance(3.0)
        _, height, width = expected["shape"]
        values = np.asarray(vivid.resize((width, height), Image.Resampling.BICUBIC)) / 255
        np.testing.assert_allclose(values.mean(axis=(0, 1)), expected["channel_mean"], atol=1e-5)
        counts = np.stack([soft_histogram(channel, 256, 1e5) for channel in smooth(values, 3, 0.9).transpose(2, 0, 1)])
        np.testing.assert_allclose(colour_histogram(rgb), normalise_histogram(counts), rtol=1e-6)


@pytest.mark.parametrize(("bins", "sharpness"), [(16, 1e5), (256, 1e5), (256, 2e3), (32, 50.0), (8, 5.0), (1, 10.0)])
def test_counting_equals_the_formula(bins, sharpness):
    rng = np.random.default_rng(bins)
    edges = np.arange(bins + 1) / bins
    near = np.clip(edges + rng.normal(size=bins + 1) / sharpness, 0, 1)
    values = np.concatenate([rng.random(400), edges, near, [0.0, 1.0]])
    expected = _direct_histogram(values, bins, sharpness)
    np.testing.assert_allclose(soft_histogram(values, bins, sharpness), expected, atol=1e-9)


def test_a_value_on_an_outer_edge_counts_one_half():
    assert soft_histogram(np.array([0.0, 0.0, 1.0]), 4, 1e5).tolist() == pytest.approx([1.0, 0.0, 0.0, 0.5])


def test_colour_histogram_of_flat_and_tiny_images():
    for shape in ((1, 1, 3), (3, 300, 3), (300, 3, 3)):
        histogram = colour_histogram(np.full(shape, 100, dtype=np.uint8))
        assert histogram.shape == (3, 256)
        assert histogram.dtype == np.float32
        np.testing.assert_allclose(histogram[:, 100], 1.0, atol=1e-4)
        np.testing.assert_allclose(histogram.sum(axis=1), 1.0, atol=1e-5)
        assert histogram.min() > 0
    assert colour_histogram(np.zeros((4, 4, 3), dtype=np.uint8), bins=16, height=8).shape == (3, 16)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_images_are_refused(image):
    with pytest.raises(InputError, match="RGB"):
        colour_histogram(image)


def _features(n, seed=0, bins=12):
    rng = np.random.default_rng(seed)
    return normalise_histogram(rng.random((n, 3, bins)) ** 3)


def test_divergence_equals_its_definition_and_does_not_depend_on_chunks(monkeypatch):
    a, b = _features(5), _features(4, seed=1)
    result = jensen_shannon(a, b)
    for i, j, c in np.ndindex(5, 4, 3):
        expected = _direct_jsd(a[i, c].astype(np.float64), b[j, c].astype(np.float64))
        assert result[i, j, c] == pytest.approx(expected, abs=1e-7)
    same = jensen_shannon(a, a)
    np.testing.assert_array_equal(same, same.transpose(1, 0, 2))
    np.testing.assert_allclose(same[range(5), range(5)], 0.0, atol=1e-12)
    monkeypatch.setattr("scripts.active.neighbours._CHUNK_BYTES", 1)
    np.testing.assert_array_equal(jensen_shannon(a, b), result)


def _brute_force(features, class_of, k):
    """Neighbours of each id by the definition, from whole distance matrices."""
    wide = {id_: feature.astype(np.float64) for id_, feature in features.items()}
    expected = {}
    for name in set(class_of.values()):
        ids = [id_ for id_ in features if class_of[id_] == name]
        divergence = np.array([[[_direct_jsd(wide[u][c], wide[v][c]) for c in range(3)] for v in ids] for u in ids])
        total = (divergence / divergence.sum(axis=(0, 1))).sum(axis=2)
        for row, u in enumerate(ids):
            ranked = sorted((total[row, col], v) for col, v in enumerate(ids) if v != u)
            expected[u] = [v for _, v in ranked[:k]]
    return expected


@pytest.mark.parametrize("chunk_bytes", [1, 2000, 2**20])
@pytest.mark.parametrize("k", [1, 4, 40])
def test_graph_equals_brute_force_for_any_chunk(monkeypatch, chunk_bytes, k):
    monkeypatch.setattr("scripts.active.neighbours._CHUNK_BYTES", chunk_bytes)
    ids = [f"i{index}" for index in range(14)]
    features = dict(zip(ids, _features(14), strict=True))
    class_of = {id_: "b" if index < 9 else "a" for index, id_ in enumerate(ids)}
    graph = neighbour_graph(features, class_of, k)
    found = {
        id_: [graph.ids[index] for index in row if index >= 0]
        for id_, row in zip(graph.ids, graph.neighbours, strict=True)
    }
    assert found == _brute_force(features, class_of, k)
    assert graph.neighbours.shape == (14, min(k, 8))
    assert (graph.neighbours.dtype, graph.distances.dtype) == (np.int32, np.float32)
    assert (np.diff(np.where(np.isinf(graph.distances), 9.0, graph.distances), axis=1) >= 0).all()
    np.testing.assert_array_equal(np.isinf(graph.distances), graph.neighbours == -1)


def test_copies_of_one_image_are_neighbours_in_the_order_of_their_ids():
    one, other = _features(2)
    features = {"d": one, "b": one, "a": other, "c": one}
    graph = neighbour_graph(features, dict.fromkeys(features, "x"), k=3)
    names = {id_: [graph.ids[index] for index in row] for id_, row in zip(graph.ids, graph.neighbours, strict=True)}
    assert names == {"a": ["b", "c", "d"], "b": ["c", "d", "a"], "c": ["b", "d", "a"], "d": ["b", "c", "a"]}


def test_lone_and_identical_images_give_no_nan():
    one = _features(1)[0]
    graph = neighbour_graph({"a": one, "b": one, "c": one}, {"a": "x", "b": "x", "c": "lone"}, k=5)
    assert graph.neighbours.tolist() == [[-1], [2], [1]]  # class "lone" comes first
    assert graph.distances.tolist() == [[np.inf], [0.0], [0.0]]
    assert neighbour_graph({"a": one}, {"a": "x"}, k=2).neighbours.shape == (1, 0)
    assert neighbour_graph({}, {}, k=2).ids == ()


def test_senseless_arguments_are_refused():
    with pytest.raises(InputError, match="neighbours"):
        neighbour_graph({}, {}, k=0)
    with pytest.raises(InputError, match="twice"):
        build_graph([(["a"], list), (["a"], list)], k=1)
    with pytest.raises(InputError, match="kernel"):
        smooth(np.zeros((4, 4, 1)), 2, 0.9)
