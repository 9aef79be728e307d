import numpy as np
import pytest

from micro_yolo.model.anchors import class_weights, fit_anchors, fit_quality, shape_iou, share_out

CLUSTERS = np.array([(12, 10), (40, 80), (200, 150)], np.float64)


def boxes_around(centres: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([c * rng.normal(1, 0.05, (50, 2)) for c in centres])


def test_finds_the_clusters_smallest_first():
    assert np.allclose(fit_anchors(boxes_around(CLUSTERS), 3), CLUSTERS, rtol=0.05)


def test_same_seed_same_anchors():
    shapes = np.random.default_rng(1).uniform(5, 300, (200, 2))
    assert fit_anchors(shapes, 6, seed=3) == fit_anchors(shapes, 6, seed=3)


def test_fitted_anchors_fit_better_than_strangers():
    shapes = boxes_around(CLUSTERS)
    assert fit_quality(shapes, fit_anchors(shapes, 3)) > 0.9 > fit_quality(shapes, [(10, 300), (300, 10), (5, 5)])


def test_too_few_shapes_names_the_way_out():
    with pytest.raises(ValueError, match=r"6 anchors need at least 6 different box shapes, got 1; use --anchors paper"):
        fit_anchors(np.array([[10, 10], [10, 10]]), 6)


def test_iou_of_shapes():
    assert np.allclose(
        shape_iou(np.array([[2.0, 2.0]]), np.array([[2.0, 2.0], [1.0, 2.0], [4.0, 1.0]])), [[1, 0.5, 1 / 3]]
    )


def test_the_finest_grid_gets_the_smallest():
    anchors = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 4.0)]
    assert share_out(anchors, [32, 16], [1, 3]) == [((4.0, 4.0),), tuple(anchors[:3])]


def test_a_rare_class_gets_anchors_of_its_own():
    rng = np.random.default_rng(0)
    common, rare = (centre * rng.normal(1, 0.15, (n, 2)) for centre, n in ((100.0, 2000), (15.0, 40)))
    shapes, classes = np.concatenate([common, rare]), np.repeat([0, 1], [2000, 40])
    alike = fit_anchors(shapes, 6)
    weighted = fit_anchors(shapes, 6, weights=class_weights(classes))
    assert fit_quality(rare, weighted) > fit_quality(rare, alike)
    assert sum(w < 40 for w, _ in weighted) > sum(w < 40 for w, _ in alike)
