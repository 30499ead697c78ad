from dataclasses import astuple
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.slides import RegionMask, Slide, open_slide
from napari_hrpn.training.entries import Part, SlideEntry, Split, TrainingSlide, split_slides


def made_up(
    name: str, tumour: str = "", part: Part = "auto", shape: tuple[int, int] = (300, 800), **more: object
) -> TrainingSlide:
    pixels = da.from_array(np.random.default_rng(0).integers(0, 200, (3, *shape), np.uint8), chunks=(1, 512, 512))
    slide = Slide((pixels,), ("DAPI", "CD31", "QD"), (2.0, 2.0), Path(f"{name}.tif"))
    return TrainingSlide(SlideEntry(slide.source, tumour, part), slide, (0, 1), 2, **more)


def names(split: Split) -> tuple[list[str], list[str], list[str]]:
    train, validation, test = (
        [slide.slide.source.stem for slide in part] for part in (split.train, split.validation, split.test)
    )
    return train, validation, test


def area(regions: RegionMask) -> float:
    return float(regions.mask.sum() * np.prod(regions.downsample))


def test_parts_are_those_of_the_entries() -> None:
    slides = [made_up("a"), made_up("b", part="validation"), made_up("c", part="train"), made_up("d", part="test")]
    split = split_slides(slides)
    assert names(split) == (["a", "c"], ["b"], ["d"])
    assert "b, as asked for" in split.note


def test_last_tumour_in_natural_order_is_held_out_and_the_note_says_so() -> None:
    split = split_slides([made_up("t10"), made_up("T2"), made_up("t9"), made_up("t99", part="test")])
    assert names(split) == (["T2", "t9"], ["t10"], ["t99"])
    assert "t10, the last of 3 tumours" in split.note


def test_none_holds_out_nothing_and_no_tumour_may_have_that_name() -> None:
    split = split_slides([made_up("a"), made_up("b"), made_up("c", part="test")], "none")
    assert names(split) == (["a", "b"], [], ["c"])
    assert split.judged_on == split.train
    assert "last epoch" in split.note
    assert names(split_slides([made_up("a")], "none")) == (["a"], [], [])
    with pytest.raises(TrainingError, match="a tumour is called 'none'"):
        split_slides([made_up("a"), made_up("none")], "none")
    with pytest.raises(TrainingError, match="b is named for validation"):
        split_slides([made_up("a"), made_up("b", part="validation")], "none")


def test_order_of_the_slides_does_not_matter() -> None:
    slides = [made_up(name, tumour) for name, tumour in zip("abcdef", ("x", "y", "y", "x", "z", "z"), strict=True)]
    one, other = split_slides(slides), split_slides(slides[::-1])
    assert [sorted(part) for part in names(one)] == [sorted(part) for part in names(other)]


def test_tumour_to_train_on_is_held_out_only_where_all_are() -> None:
    assert names(split_slides([made_up("a"), made_up("b", part="train")])) == (["b"], ["a"], [])
    assert names(split_slides([made_up("a", part="train"), made_up("b", part="train")])) == (["a"], ["b"], [])


def test_named_tumour_validates_whatever_its_entries_say() -> None:
    slides = [made_up("a", "x", "train"), made_up("b", "x", "test"), made_up("c", "y"), made_up("d", "z")]
    assert names(split_slides(slides, "x")) == (["c", "d"], ["a", "b"], [])


def test_slides_of_a_tumour_stay_together() -> None:
    slides = [made_up("a", "x"), made_up("b", "x", "test"), made_up("c", "y"), made_up("d", "z"), made_up("e", "z")]
    assert names(split_slides(slides)) == (["c"], ["d", "e"], ["a", "b"])


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "validation"), ("validation", "test")])
def test_tumour_on_two_sides_is_refused(parts: tuple[Part, Part]) -> None:
    slides = [made_up("a", "x", parts[0]), made_up("b", "x", parts[1]), made_up("c")]
    with pytest.raises(TrainingError, match=r"tumour x has slides for .* and .*; expected all of a tumour in one part"):
        split_slides(slides)


def test_unknown_tumour_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(TrainingError, match=r"no tumour 'q' to validate on; .*: t2, t10; or none\."):
        split_slides([made_up("t10"), made_up("t2")], "q")


@pytest.mark.parametrize(
    ("slides", "validate"),
    [([], None), ([made_up("a", part="test")], None), ([made_up("a", part="validation")], None), ([made_up("a")], "a")],
)
def test_nothing_to_train_on_is_refused(slides: list[TrainingSlide], validate: str | None) -> None:
    with pytest.raises(TrainingError, match="left to train on"):
        split_slides(slides, validate)


@pytest.mark.parametrize("shape", [(300, 800), (800, 300)])
def test_single_tumour_is_cut_along_its_longer_side(shape: tuple[int, int]) -> None:
    slides = [made_up("a", "x", shape=shape), made_up("b", "x", shape=shape), made_up("c", part="test")]
    split = split_slides(slides)
    assert names(split) == (["a", "b"], ["a", "b"], ["c"])
    assert "part of x, the only tumour" in split.note
    axis = int(np.argmax(shape))
    for one, other in zip(split.train, split.validation, strict=True):
        first, second = (astuple(half.regions.bounds(shape)) for half in (one, other))
        assert second[2 * axis] - first[2 * axis + 1] >= 64
        assert second[2 * (1 - axis) :][:2] == first[2 * (1 - axis) :][:2] == (0, 300)
        share = area(other.regions) / (area(one.regions) + area(other.regions))
        assert share == pytest.approx(0.25, abs=0.02)
        assert one.entry is other.entry
        assert one.slide is other.slide


def test_cut_follows_the_regions_and_keeps_to_them() -> None:
    mask = np.zeros((75, 200), bool)
    mask[5:70, 10:30] = True
    regions = RegionMask(mask, (4.0, 4.0))
    (train,), (validation,) = (
        split_slides([made_up("a", regions=regions)]).__dict__[k] for k in ("train", "validation")
    )
    both = train.regions.mask | validation.regions.mask
    assert not (both & ~mask).any()
    # the region is longer along y, though the slide is along x
    first, second = (half.regions.bounds(half.slide.shape) for half in (train, validation))
    assert (first.x0, first.x1) == (second.x0, second.x1) == (40, 120)
    assert second.y0 - first.y1 >= 64
    assert area(validation.regions) / both.sum() / 16 == pytest.approx(0.25, abs=0.05)


def test_regions_far_apart_are_parted_between_them() -> None:
    mask = np.zeros((75, 200), bool)
    mask[:, :30] = mask[:, 180:] = True
    split = split_slides([made_up("a", regions=RegionMask(mask, (4.0, 4.0)))])
    (train,), (validation,) = split.train, split.validation
    assert train.regions.mask.any()
    assert validation.regions.mask.any()
    assert train.regions.bounds(train.slide.shape).y1 > 0


def test_slide_too_small_to_cut_is_trained_on_whole_and_alone_refused() -> None:
    small, large = made_up("small", "x", shape=(60, 50)), made_up("large", "x")
    split = split_slides([small, large])
    assert names(split) == (["large", "small"], ["large"], [])
    assert split.train[1].regions is None
    with pytest.raises(TrainingError, match="x is the only tumour to train on and its regions are too small"):
        split_slides([small])


def test_real_section_has_tissue_on_both_sides_of_the_cut(shared_data: Path) -> None:
    slide = open_slide(shared_data / "merck" / "z0708.ome.tif")
    split = split_slides([TrainingSlide(SlideEntry(slide.source), slide, (0, 1), 2)])
    (train,), (validation,) = split.train, split.validation
    tissue = tissue_mask(slide, 0)
    one, other = (area(part.regions.intersected(tissue)) for part in (train, validation))
    assert other / (one + other) == pytest.approx(0.25, abs=0.03)
    assert not train.regions.intersected(validation.regions).mask.any()
