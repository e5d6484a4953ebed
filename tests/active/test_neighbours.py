from __future__ import annotations

import numpy as np
import pytest

from scripts.active.neighbours import build_graph, jensen_shannon, neighbour_graph
from scripts.core.errors import InputError
from scripts.data.histograms import colour_histogram, normalise_histogram, soft_histogram


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
