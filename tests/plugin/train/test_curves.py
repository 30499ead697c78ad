"""Curves and preview of a training."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backend_bases import MouseEvent
from qtpy.QtWidgets import QToolTip

from napari_hrpn.plugin.train.curves import TrainingCurves
from napari_hrpn.plugin.train.page import TrainingPreview, pictures_of
from napari_hrpn.training import EpochRecord, Preview

RECORDS = [EpochRecord(epoch, 1000 / epoch, 400 + 40 * abs(epoch - 3), 1e-3, 1.0, 1.0, 0.0, 1) for epoch in range(1, 6)]


@pytest.fixture
def curves(qtbot):
    curves = TrainingCurves()
    qtbot.addWidget(curves)
    curves.resize(400, 240)
    with qtbot.waitExposed(curves):
        curves.show()
    return curves


@pytest.fixture
def draws(curves, monkeypatch):
    """Counts how often the canvas is drawn."""
    count = []
    draw = curves.canvas.draw
    monkeypatch.setattr(curves.canvas, "draw", lambda: (count.append(1), draw()))
    return count


def axes(curves):
    (found,) = curves.figure.axes
    return found


def line(curves, label):
    """What the legend calls so."""
    number = ["train", "validation", None, "best epoch"].index(label)
    return axes(curves).get_lines()[number]


def moving_line(curves):
    return next(line for line in axes(curves).get_lines() if line.get_alpha() == 0.5)


def test_losses_are_drawn_over_epochs_and_the_best_is_marked(curves, draws, until):
    for record in RECORDS:
        curves.add_epoch(record, min(record.epoch, 3))
    until(lambda: bool(draws))
    np.testing.assert_array_equal(line(curves, "train").get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(line(curves, "train").get_ydata(), [record.train_loss for record in RECORDS])
    np.testing.assert_array_equal(
        line(curves, "validation").get_ydata(), [record.validation_loss for record in RECORDS]
    )
    assert line(curves, "best epoch").get_xdata() == [3]
    assert line(curves, "best epoch").get_ydata() == [400]
    assert axes(curves).get_yscale() == "log"
    assert axes(curves).get_title(loc="left") == "mean squared error, grey levels²"
    low, high = axes(curves).get_ylim()
    assert low < 200
    assert high > 1000


def test_an_epoch_that_is_done_again_takes_the_place_of_the_first(curves):
    curves.show_history(RECORDS, 3)
    again = replace(RECORDS[3], train_loss=7.0)
    curves.add_epoch(again, 3)
    assert curves.records == [*RECORDS[:3], again]


def test_it_is_drawn_a_few_times_per_second_at_most(curves, draws, until):
    for step in range(200):
        curves.add_step(step / 200, 1000.0 - step)
    assert len(draws) <= 1
    until(lambda: not curves._soon.isActive())
    assert len(draws) == 1


def test_the_curve_moves_within_an_epoch(curves, draws, until):
    curves.show_history(RECORDS[:2], 2)
    for step in range(1, 4):
        curves.add_step(2 + step / 10, 480.0 + step)
    until(lambda: bool(draws))
    moving = moving_line(curves)
    np.testing.assert_allclose(moving.get_xdata(), [2, 2.1, 2.2, 2.3])
    np.testing.assert_allclose(moving.get_ydata(), [500, 481, 482, 483])
    curves.add_epoch(RECORDS[2], 3)
    until(lambda: len(draws) == 2)
    assert len(moving_line(curves).get_xdata()) == 4


def test_what_is_hidden_is_not_drawn_but_comes_up_to_date(curves, draws, until):
    curves.hide()
    curves.show_history(RECORDS, 3)
    assert curves._soon.isActive()
    until(lambda: not curves._soon.isActive())
    assert draws == []
    curves.show()
    assert len(line(curves, "train").get_xdata()) == 5


@pytest.mark.parametrize("epochs", [1, 5])
def test_the_legend_lies_on_no_point(curves, draws, until, epochs):
    curves.show_history(RECORDS[:epochs], 1)
    until(lambda: bool(draws))
    legend = axes(curves).get_legend()
    assert legend.get_visible()
    assert [text.get_text() for text in legend.get_texts()] == ["train", "validation", "best epoch"]
    assert not legend.get_window_extent().overlaps(axes(curves).get_window_extent())
    assert not legend.get_window_extent().overlaps(axes(curves).xaxis.label.get_window_extent())
    curves.show_history((), 0)
    until(lambda: len(draws) == 2)
    assert axes(curves).get_legend() is None


def test_losses_that_are_not_finite_do_no_harm(curves, draws, until):
    curves.add_epoch(replace(RECORDS[0], train_loss=float("nan"), validation_loss=float("inf")), 0)
    until(lambda: bool(draws))
    assert np.all(np.isfinite(axes(curves).get_ylim()))


def test_the_mouse_finds_both_values(curves, draws, until):
    curves.show_history(RECORDS, 3)
    assert curves.words_of(2.4) == "epoch 2\ntrain 500\nvalidation 440"
    assert curves.words_of(99) == "epoch 5\ntrain 200\nvalidation 480"
    assert "best" in curves.words_of(3)
    until(lambda: bool(draws))
    x, y = axes(curves).transData.transform((4.1, 450))
    curves.canvas.callbacks.process("motion_notify_event", MouseEvent("motion_notify_event", curves.canvas, x, y))
    assert QToolTip.text() == curves.words_of(4)
    curves.show_history((), 0)
    assert curves.words_of(1) == ""


def test_real_and_predicted_share_their_limits(preview):
    inputs, _, predicted = pictures_of(preview, ("nuclei", "vessels"))
    low, high = np.percentile(preview.real, (0.5, 99.7))
    expected = np.clip((preview.predicted.astype(float) - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(predicted, expected, atol=0.51)
    assert inputs.shape == (32, 32, 3)


def test_nuclei_are_blue_and_vessels_green_and_others_neither():
    inputs = np.zeros((3, 8, 8), np.float32)
    for channel in range(3):
        inputs[channel, channel, :4] = 100
    flat = np.ones((8, 8), np.float32)
    picture, _, _ = pictures_of(Preview(inputs, flat, flat), ("vessels", "nuclei", "macrophages"))
    vessels, nuclei, other = (picture[channel, 0].astype(int) for channel in range(3))
    assert vessels.argmax() == 1
    assert nuclei.argmax() == 2
    assert other.argmax() == 0


def test_a_flat_patch_and_values_that_are_not_finite_are_shown():
    flat = np.full((8, 8), 5.0, np.float32)
    _, real, predicted = pictures_of(Preview(flat[None], flat, flat * np.nan), ("nuclei",))
    assert real.max() == 0
    assert predicted.max() == 0


def test_the_preview_shows_what_it_was_given(qtbot, preview):
    shown = TrainingPreview()
    qtbot.addWidget(shown)
    shown.resize(308, 140)
    assert shown.isHidden()
    shown.show_patch(preview, ("nuclei", "vessels"), 7)
    with qtbot.waitExposed(shown):
        shown.show()
    grabbed = [picture.grab().toImage() for picture in shown.pictures]
    assert {image.width() for image in grabbed} == {100}
    middle = [image.pixelColor(50, image.height() // 2) for image in grabbed]
    assert middle[1].red() == middle[1].green() == middle[1].blue()
    assert "after epoch 7" in shown.toolTip()
    shown.clear()
    assert shown.isHidden()


def test_steps_stay_when_their_epoch_ends(curves):
    curves.add_step(0.5, 900.0)
    curves.add_epoch(RECORDS[0], 1)
    curves.add_step(1.5, 700.0)
    curves._draw()
    np.testing.assert_array_equal(moving_line(curves).get_xdata(), [0.5, 1.5])
    curves.show_history(RECORDS, 3)
    assert not curves._within


def test_agreement_stands_beside_the_losses(curves):
    record = replace(RECORDS[0], validation_r=0.8, validation_r2=0.6, baseline_r=0.7, baseline_r2=0.5)
    curves.add_epoch(record, 1)
    assert curves.words_of(1).endswith("r 0.800, R² 0.600\nblurred inputs: r 0.700, R² 0.500")
