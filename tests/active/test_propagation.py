from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from scripts.active.neighbours import build_graph, neighbour_graph
from scripts.active.propagation import Donor, NearestNeighbours, pseudo_pool
from scripts.core.errors import InputError
from scripts.data.histograms import colour_histogram


def _graph(blocks, k):
    """The graph of ids and whole distance matrices, by class."""
    return build_graph([(ids, partial(enumerate, [distances])) for ids, distances in blocks], k)


def _donors(pairs):
    return {id_: donor.id for id_, donor in pairs.items()}


def test_pairs_of_synthetic_distances_equal_golden(golden):
    data = golden("knn_selection")["synthetic"]
    blocks = [(block["ids"], np.array(block["normalised"])) for block in data["classes"].values()]
    graph = _graph(blocks, k=40)
    assert len(data["cases"]) == 24
    for case in data["cases"]:
        unlabelled = [id_ for id_ in graph.ids if id_ not in case["labelled"]]
        pairs = NearestNeighbours(case["k"])(graph, case["labelled"], unlabelled)
        assert _donors(pairs) == case["pairs"]
        assert [id_ for id_ in unlabelled if id_ not in pairs] == sorted(case["unpaired"])
        smaller = _graph(blocks, k=case["k"])
        assert NearestNeighbours(case["k"])(smaller, case["labelled"], unlabelled) == pairs


def test_normalised_distances_are_those_of_the_channels(golden):
    for block in golden("knn_selection")["synthetic"]["classes"].values():
        summed = (np.array(block["d_rgb"]) / np.array(block["z"])).sum(axis=2)
        np.testing.assert_allclose(summed, block["normalised"], atol=1e-5)


def test_pairs_of_images_equal_golden(golden):
    features, class_of = {}, {}
    for image in golden("pairwise_similarity")["images"]:
        rgb = np.array(image["rgb_rows"], dtype=np.uint8).reshape(image["h"], image["w"], 3)
        features[image["id"]], class_of[image["id"]] = colour_histogram(rgb), image["label"]
    graph = neighbour_graph(features, class_of, k=40)
    for case in golden("knn_selection")["on_pairwise_similarity_images"]:
        unlabelled = [id_ for id_ in graph.ids if id_ not in case["labelled"]]
        pairs = NearestNeighbours(case["k"])(graph, case["labelled"], unlabelled)
        assert _donors(pairs) == case["pairs"]


@pytest.fixture
def line():
    """Five images on a line at 0, 1, 3, 7, 15, and a class of one."""
    places = np.array([0.0, 1.0, 3.0, 7.0, 15.0])
    distances = np.abs(places[:, None] - places)
    return _graph([(list("abcde"), distances), (["z"], np.zeros((1, 1)))], k=40)


def test_donor_holds_distance_and_rank_among_all_images(line):
    pairs = NearestNeighbours(2)(line, ["a"], ["e", "c", "b", "d", "z"])
    assert pairs == {"c": Donor("a", 3.0, 2), "b": Donor("a", 1.0, 1)}
    assert list(pairs) == ["c", "b"]
    assert NearestNeighbours(40)(line, ["a", "d"], ["e"]) == {"e": Donor("d", 8.0, 1)}


def test_no_label_in_the_class_or_nothing_to_pair(line):
    assert NearestNeighbours()(line, ["z"], list("abcde")) == {}
    assert NearestNeighbours()(line, [], [*"abcde", "z"]) == {}
    assert NearestNeighbours()(line, [*"abcde", "z"], []) == {}


def test_equally_near_donors_are_taken_by_id():
    distances = np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    graph = _graph([(["u", "y", "x"], distances)], k=40)
    assert NearestNeighbours()(graph, ["x", "y"], ["u"]) == {"u": Donor("x", 2.0, 1)}


def test_senseless_arguments_are_refused(line):
    with pytest.raises(InputError, match="k"):
        NearestNeighbours(0)
    with pytest.raises(InputError) as caught:
        NearestNeighbours(1)(line, ["a", "q"], ["a", "b", "r"])
    assert [problem.where for problem in caught.value.problems] == ["q", "r", "a"]


def test_a_graph_with_too_few_neighbours_is_refused_unless_there_are_no_more(line):
    short = _graph([(list("abc"), np.arange(9.0).reshape(3, 3))], k=1)
    with pytest.raises(InputError, match="too few"):
        NearestNeighbours(2)(short, ["a"], ["b"])
    assert NearestNeighbours(1000)(line, ["a"], ["e"]) == {"e": Donor("a", 15.0, 4)}


def test_pool_keeps_members_takes_new_donors_and_never_an_oracle_mask():
    old, new = Donor("a", 1.0, 1), Donor("b", 2.0, 2)
    pool = pseudo_pool({"p": old, "q": old, "r": old}, {"q": new, "s": new, "t": new}, labelled=["r", "t"])
    assert pool == {"p": old, "q": new, "s": new}
