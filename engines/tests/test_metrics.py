"""Measures on values known beforehand; most are those of the Rust tests, so that both stay one."""

import numpy as np
import pytest

from tvsl_engines import metrics
from tvsl_engines.evaluate import ALL, DUET, SINGLE, Judged, judge
from tvsl_engines.picture import Fit
from tvsl_engines.table import compared, figures, paired
from tvsl_engines.truth import Source

GRID = Fit(4, 4, 32, 128, 128, 0, 0)


def hot(cell: int) -> np.ndarray:
    return (np.arange(16) == cell).astype(np.float32)


@pytest.mark.parametrize("scores, truth, expected", [
    ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.8333333333333333), ([0.5, 0.5, 0.5, 0.2], [1, 0, 1, 1], 0.6944444444444444),
    ([0.9, 0.8, 0.7], [0, 0, 1], 1 / 3), ([0.9, 0.8], [0, 0], 0.0)])
def test_average_precision_agrees_with_scikit_learn(scores, truth, expected) -> None:
    assert metrics.average_precision(np.array(scores), np.array(truth, bool)) == pytest.approx(expected, abs=1e-12)


def test_success_area_of_known_values() -> None:
    assert [metrics.success_area(v) for v in (1.0, 0.0, 0.5)] == pytest.approx([1.0, 0.025, 0.525])


def test_masks_overlap() -> None:
    a, b = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)
    assert metrics.iou(a, b) == 1 / 3 and metrics.iou(a & b & ~a, a & ~a) == 0


def test_boxes_are_rastered_by_their_centres() -> None:
    mask = metrics.raster([(0.0, 0.0, 0.5, 0.25)], 128)
    assert mask.sum() == 64 * 32 and mask[0, 0] and not mask[0, 64]
    speck = metrics.raster([(0.999, 0.999, 1.0, 1.0)], 128)
    assert speck.sum() == 1 and speck[127, 127]


def test_a_mask_is_read_at_the_nearest_place() -> None:
    mask = np.zeros((3, 6), bool)
    mask[0, 4:] = True
    found = metrics.covered(Source("dog", mask=mask), 12)
    assert found.sum() == 4 * 4 and found[:4, 8:].all()
    good, bad = (judge(hot(cell)[None], [Source("dog", mask=mask)], GRID, None) for cell in (3, 12))
    assert good.precision[0, 0] > 0.9 > 0.2 > bad.precision[0, 0] and good.iou[0] > 0.3 > bad.iou[0]


def test_cell_centres_keep_their_values_and_a_plane_stays_a_plane() -> None:
    values = (np.arange(16) % 4 + 10.0 * (np.arange(16) // 4)).astype(np.float32)
    odd = metrics.over_picture(values, GRID, 12, 12)
    np.testing.assert_allclose(odd[1::3, 1::3], values.reshape(4, 4), atol=1e-5)
    assert odd[4, 5] == pytest.approx(10 + 4 / 3, abs=1e-5)


def test_padding_never_counts() -> None:
    place = Fit(2, 6, 32, 192, 38, 0, 13)
    heat = metrics.scaled(metrics.over_picture(np.r_[2.0, np.ones(11)], place, 20, 4))
    assert heat[0, 0] > 0.9 and heat[3, 19] < 0.2


def test_a_flat_map_does_not_say_where() -> None:
    assert metrics.regions(np.ones(16), GRID, 0.5) == ([(0.0, 0.0, 1.0, 1.0)], (0.5, 0.5))
    assert metrics.scaled(np.full((2, 2), np.nan)) is None


def test_regions_stand_apart_best_first() -> None:
    boxes, peak = metrics.regions(hot(0) + 0.8 * hot(15), GRID, 0.4)
    assert len(boxes) == 2 and boxes[0][0] == 0.0 and boxes[1][2] == 1.0 and peak[0] < 0.25


def test_what_barely_reaches_the_threshold_is_no_region_of_its_own() -> None:
    assert len(metrics.regions(hot(0) + 0.6 * hot(15), GRID, 0.4)[0]) == 1


def test_a_map_on_the_source_overlaps_and_one_elsewhere_does_not() -> None:
    box = ((0.0, 0.0, 0.25, 0.25),)
    for thresholds in ([0.4], None):
        good, bad = (judge(hot(cell)[None], [Source("dog", box)], GRID, thresholds) for cell in (0, 15))
        assert good.iou[0] > 0.5 and good.precision[0, 0] > 0.95
        assert bad.iou[0] == 0 and bad.precision[0, 0] < 0.2


def test_exchanged_maps_cost_cap_but_not_piap() -> None:
    boxes = [((0.0, 0.0, 0.25, 0.25),), ((0.75, 0.75, 1.0, 1.0),)]
    right, wrong = (judge(np.stack(maps), [Source("dog", b) for b in boxes], GRID, None) for maps in ((hot(0), hot(15)), (hot(15), hot(0))))
    value = lambda name, scene: np.mean(DUET[name](scene))
    assert value("PIAP", right) == value("PIAP", wrong) == value("CAP", right) > 0.95 > 0.2 > value("CAP", wrong)


def test_the_best_permutation_is_soon_found_for_many_sources() -> None:
    precision = np.full((40, 40), 0.25)
    precision[np.arange(40), np.roll(np.arange(40), 7)] = 0.75
    assert Judged(np.zeros(40), precision).best_permutation() == 0.75 > precision.diagonal().mean()


def test_by_source_and_by_frame() -> None:
    scene = Judged(np.array([0.4, 0.1]), np.eye(2))
    assert DUET["CIoU@0.3"](scene) == [1.0, 0.0] and DUET["CIoU@0.3 by frame"](scene) == [0.0]


def scenes(values: list[float]) -> list[Judged]:
    return [Judged(np.array([v]), np.array([[v]])) for v in values] + [Judged(np.array([v, v]), np.full((2, 2), v)) for v in values]


def test_differences_are_paired_by_scene() -> None:
    """Scenes differ far more than methods do: unpaired intervals overlap, the paired difference is sure."""
    hard = np.linspace(0.1, 0.8, 40)
    better, worse = scenes(list(hard + 0.05)), scenes(list(hard))
    a, b = figures(better)["single AP"], figures(worse)["single AP"]
    assert a[1] < b[2] and paired(better, worse)["single AP"] == pytest.approx((5.0, 5.0, 5.0))
    assert list(figures(better)) == [*(f"single {n}" for n in SINGLE), *(f"duet {n}" for n in DUET), *(f"all {n}" for n in ALL)]


def test_the_table_tells_methods_notes_and_protocol() -> None:
    text = compared({"two": scenes([0.6, 0.4]), "one": scenes([0.5, 0.3])}, "as said", {"clip-ssl": "needs CLIPSeg weights"})
    assert "protocol: as said" in text and "| two − one | 10.0" in text and "needs CLIPSeg weights" in text
    assert "2 single scenes, 2 duet scenes" in text
