"""The widget "Train HRPN" in a window, with a training that learns nothing."""

import dask.array as da
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.compat import isalive

from napari_hrpn.plugin.predict.widget import PredictWidget
from napari_hrpn.plugin.train.job import steps_per_epoch
from napari_hrpn.plugin.train.slide_cells import REGIONS
from napari_hrpn.plugin.train.widget import PAGE_TAB, SETUP_TAB, TrainWidget
from napari_hrpn.slides import read_geojson, read_regions
from napari_hrpn.training import RunFolder, TrainingError, TrainingSettings

STEPS = 4


@pytest.fixture
def run_to_end(training, wait_for):
    def run(widget):
        training.let()
        widget.train()
        wait_for(widget, running=False)

    return run


@pytest.fixture
def assert_ended(threads, until):
    def check():
        until(lambda: threads() == [])

    return check


def test_what_is_to_be_expected_is_told_before_the_start(widget, training, slide_files, text_of, until):
    words = text_of(widget.setup.prospect_label)
    assert "about 50 steps per epoch, 10 min, 2.0 GB more memory, 0.3 GB on disk" in words
    assert words.endswith("Validated on tumour 2.")
    assert "look alike" in text_of(widget.progress.warning_label)
    assert widget.setup.folder_form.shown == slide_files[0].parent / "training"
    assert not list(slide_files[0].parent.glob("training*"))
    training.refused_with = TrainingError("tumour 2 has no probe; choose its channel.")
    widget.setup.training_form.fields["epochs"].value = 3
    until(lambda: text_of(widget.setup.prospect_label) == "tumour 2 has no probe; choose its channel.")
    assert widget.progress.warning_label.isHidden()


def test_curves_grow_and_the_end_is_told(widget, training, slide_files, until, wait_for):
    widget.setup.training_form.fields["epochs"].value = 3
    widget.train()
    training.let(STEPS + 2)
    until(lambda: len(widget.page.curves.records) == 1 and widget.progress.epoch_bar.text() == "epoch 2 of 3")
    assert widget.is_running
    assert widget.tabs.currentIndex() == PAGE_TAB
    assert not widget.setup.isEnabled()
    assert widget.progress.numbers_label.text() == "3 min left, 60 s so far, 12.5 patches/s"
    assert not widget.page.preview.isHidden()
    assert "this run takes 4 min in total" in widget.setup.prospect_label.text().replace("\u200b", "")
    # the best epoch so far can be tried while the others are learnt
    assert not widget.page.use_button.isHidden()
    assert widget.page.use_button.text() == "Use the best so far"
    assert widget.page.checkpoint == slide_files[0].parent / "training" / "checkpoint.safetensors"
    training.let()
    wait_for(widget, running=False)
    assert widget.message == "Done: 3 epochs in 3 min; the best is epoch 2."
    curves = widget.page.curves
    assert curves.records == [training.record(epoch) for epoch in (1, 2, 3)]
    assert curves.best_epoch == 2
    assert "from two tumours" in widget.page.card_view.toPlainText()
    call = training.calls[0]
    assert call.folder == slide_files[0].parent / "training"
    assert [entry.path for entry in call.entries] == slide_files
    assert call.settings == widget.setup.training_form.settings()
    assert widget.progress.epoch_bar.text() == "3 of 3 epochs"


def test_stop_keeps_everything_and_continue_goes_on(widget, training, until, wait_for):
    assert widget.train_button.text() == "Train"
    widget.setup.training_form.fields["epochs"].value = 3
    widget.train()
    training.let(STEPS + 1)
    until(lambda: len(widget.page.curves.records) == 1)
    widget.stop_button.click()
    wait_for(widget, running=False)
    assert widget.message == "Stopped: 1 epoch is finished; the best is epoch 1. Continue resumes from here."
    until(lambda: widget.train_button.text() == "Continue")
    until(widget.train_button.isEnabled)
    training.let()
    widget.train_button.click()
    wait_for(widget, running=False)
    assert widget.message.startswith("Done: 3 epochs")
    assert [record.epoch for record in widget.page.curves.records] == [1, 2, 3]
    assert training.calls[0].folder == training.calls[1].folder
    until(lambda: widget.setup.prospect_label.text().startswith("This training is finished"))
    assert widget.train_button.text() == "Train"


def test_reset_keeps_the_run_and_proposes_another_folder(widget, training, slide_files, until, run_to_end):
    run_to_end(widget)
    folder = slide_files[0].parent
    widget.reset_button.click()
    assert widget.tabs.currentIndex() == SETUP_TAB
    assert widget.page.curves.records == []
    assert widget.message == ""
    until(lambda: widget.setup.folder_form.shown == folder / "training-2")
    run_to_end(widget)
    assert training.calls[1].folder == folder / "training-2"
    assert RunFolder(folder / "training").state().complete
    assert RunFolder(folder / "training-2").state().complete


def test_other_settings_do_not_go_on_with_a_run(widget, training, slide_files, until, run_to_end, text_of):
    run_to_end(widget)
    widget.setup.training_form.fields["batch"].value = 3
    until(lambda: "holds something else" in text_of(widget.setup.prospect_label))
    widget.train()
    until(lambda: "holds something else" in widget.message and not widget.is_running)
    assert len(training.calls) == 1


def test_a_folder_with_something_else_is_left_alone(widget, viewer_shapes, training, tmp_path, until):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter 1.txt").write_text("once upon a time")
    widget.setup.folder_form.choose(foreign)
    widget.train()
    until(lambda: "holds something else" in widget.message and not widget.is_running)
    assert [path.name for path in foreign.iterdir()] == ["chapter 1.txt"]
    assert training.calls == []


def choose_regions(table, name, until):
    """Chooses a layer for the first slide of the table."""
    index = table.model.index(0, REGIONS)
    until(lambda: name in dict(table.model.choices(index)))
    table.model.setData(index, dict(table.model.choices(index))[name])


@pytest.fixture
def viewer_shapes(widget, until):
    """Regions drawn on the first slide of the table."""
    from napari_hrpn.plugin.viewer import slide_layers

    table, viewer = widget.setup.slides_table, widget._viewer
    for data, attributes, _ in slide_layers(table.rows[0].slide):
        viewer.add_image(data, **attributes)
    square = [[10.0, 20.0], [10.0, 150.0], [140.0, 150.0], [140.0, 20.0]]
    layer = viewer.add_shapes([square], scale=(0.5, 0.5), units=("um", "um"))
    choose_regions(table, layer.name, until)
    return layer


def test_drawn_regions_are_kept_with_the_run(widget, viewer_shapes, training, until, wait_for, slide_files):
    widget.train()
    training.let(1)
    until(lambda: bool(training.calls))
    widget.stop()
    wait_for(widget, running=False)
    first, second = training.calls[0].entries
    assert first.regions.parent == slide_files[0].parent / "training" / "regions"
    assert len(read_geojson(first.regions)) == 1
    assert second.regions is None
    until(lambda: widget.train_button.text() == "Continue")
    viewer_shapes.add([[[10.0, 20.0], [10.0, 50.0], [40.0, 50.0], [40.0, 20.0]]])
    until(lambda: widget.train_button.text() == "Train")


def test_labels_are_not_read_in_the_gui_thread(widget, until, slide_files):
    read = []
    painted = da.zeros((300, 320), dtype=np.uint8, chunks=100).map_blocks(lambda block: read.append(1) or block + 1)
    viewer = widget._viewer
    viewer.open(slide_files[0], plugin="napari-hrpn")
    labels = viewer.add_labels(painted, name="tumour", scale=viewer.layers[0].scale, units=viewer.layers[0].units)
    choose_regions(widget.setup.slides_table, "tumour", until)
    read.clear()
    job = widget.setup.job()
    assert read == []
    assert [entry.regions for entry in job.entries] == [None, None]
    written = job.written()
    assert read
    assert read_regions(written.entries[0].regions, (300, 320)).fraction == 1
    assert written.entries[1] == job.entries[1]
    labels.data = np.zeros((300, 320), np.uint8)
    until(lambda: "No label of 'tumour' lies on tumour 1" in widget.setup.prospect_label.text())


@pytest.mark.filterwarnings("always::napari_hrpn.training.TrainingWarning")
@pytest.mark.parametrize("is_checked", [True, False])
def test_warnings_are_in_the_form_and_nowhere_else(
    widget, training, notifications, text_of, until, run_to_end, is_checked
):
    # napari tells the same only once
    training.warns_of = f"tumour 1 and tumour 2 look alike {is_checked}."
    training.checked.warnings = (training.warns_of,)
    if not is_checked:
        # pressed before it is found out what to expect
        widget.setup.training_form.fields["epochs"].value = 3
        widget.progress.warning_label.warn(())
    else:
        widget.setup.look_ahead_soon()
        until(lambda: "look alike True" in text_of(widget.progress.warning_label))
    with notification_manager:
        run_to_end(widget)
    assert text_of(widget.progress.warning_label) == f"⚠ {training.warns_of}"
    assert notifications == []
    assert widget.message.startswith("Done")


def test_a_refusal_is_one_sentence(widget, training, notifications, run_to_end):
    training.fails_with = TrainingError("the disk is full; make room.")
    run_to_end(widget)
    assert widget.message == "the disk is full; make room."
    assert notifications == []
    assert widget.train_button.isEnabled()
    assert widget.setup.isEnabled()


def test_any_other_error_goes_to_the_notifications(widget, training, monkeypatch, run_to_end):
    told = []
    monkeypatch.setattr(notification_manager, "receive_error", lambda *problem: told.append(problem[1]))
    training.fails_with = ZeroDivisionError("oh")
    run_to_end(widget)
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert "unexpected error" in widget.message


def test_why_a_training_ended_early_is_told(widget, training, run_to_end):
    training.reason = "the training diverged in epoch 1."
    run_to_end(widget)
    assert widget.message == "The training diverged in epoch 1."


def test_a_run_that_was_killed_is_loaded_and_goes_on(
    widget, training, make_napari_viewer_proxy, slide_files, until, wait_for, run_to_end
):
    form = widget.setup.training_form
    form.fields["epochs"].value = 3
    form.fields["batch"].value = 5
    form.fields["seed"].value = 17
    widget.train()
    training.let(STEPS)
    until(lambda: len(widget.page.curves.records) == 1)
    widget.stop()
    wait_for(widget, running=False)
    settings, entries = training.calls[0].settings, training.calls[0].entries
    widget.reset()
    form.value = type(settings)()
    widget.setup.slides_table.clear()

    widget.load(slide_files[0].parent / "training")
    until(lambda: widget.train_button.text() == "Continue" and bool(widget.setup.slides_table.rows))
    assert form.settings() == settings
    assert [record.epoch for record in widget.page.curves.records] == [1]
    assert widget.page.checkpoint == slide_files[0].parent / "training" / "checkpoint.safetensors"
    assert "Loaded. Stopped: 1 epoch is finished" in widget.message
    until(lambda: not widget.setup.slides_table.is_reading)
    run_to_end(widget)
    assert widget.message.startswith("Done: 3 epochs")
    assert training.calls[1].entries == entries


def test_a_folder_without_a_run_is_told_in_a_sentence(widget, tmp_path, until):
    widget.load(tmp_path / "nothing")
    until(lambda: "holds no training" in widget.message)


def test_the_checkpoint_is_used_for_prediction(widget, made, until, run_to_end):
    run_to_end(widget)
    widget.page.use_button.click()
    _, predict = widget._viewer.window.add_plugin_dock_widget("napari-hrpn", "Predict QD")
    made.append(predict)
    assert isinstance(predict, PredictWidget)
    until(lambda: predict.checkpoint_form.chosen is not None)
    assert predict.checkpoint_form.chosen.path == widget.page.checkpoint
    assert predict.checkpoint_form.chosen.checkpoint.card.title == "from two tumours"
    assert predict.checkpoint_form.box.current_choice == "training/checkpoint.safetensors"


def test_the_folder_is_opened(widget, monkeypatch, slide_files, run_to_end):
    opened = []
    monkeypatch.setattr(
        "napari_hrpn.plugin.train.page.QDesktopServices.openUrl", lambda url: opened.append(url.toLocalFile())
    )
    run_to_end(widget)
    widget.page.folder_button.click()
    assert opened == [str(slide_files[0].parent / "training")]


def test_without_slides_the_widget_says_what_to_do(training, make_napari_viewer_proxy, open_widget):
    widget = open_widget(make_napari_viewer_proxy())
    widget.train()
    assert widget.message.startswith("Add slides")
    assert not widget.is_running


def test_choices_that_do_not_go_together_are_told(widget):
    widget.setup.training_form.fields["patch_px"].value = 100
    widget.train()
    assert "multiple of 32 px" in widget.message
    assert not widget.is_running


def test_closing_the_dock_ends_the_run_and_says_where_it_is_kept(widget, training, until, assert_ended, notifications):
    widget.train()
    training.let(1)
    until(lambda: bool(training.calls) and widget.page.folder is not None)
    widget._viewer.window.remove_dock_widget(widget)
    assert f"kept in {widget.page.folder}" in notifications[-1]
    assert_ended()
    assert training.closed.is_set()


def test_closing_the_viewer_ends_the_run(
    training, make_napari_viewer_proxy, open_widget, made, slide_files, until, assert_ended, close_and_go_on
):
    viewer = make_napari_viewer_proxy()
    widget = open_widget(viewer, slide_files)
    widget.train()
    training.let(1)
    until(lambda: bool(training.calls))
    made.clear()
    close_and_go_on(viewer)
    assert_ended()
    assert training.closed.is_set()
    assert not isalive(widget)


def test_napari_offers_the_widget(training, make_napari_viewer_proxy, made, until):
    viewer = make_napari_viewer_proxy()
    _, widget = viewer.window.add_plugin_dock_widget("napari-hrpn", "Train HRPN")
    made.append(widget)
    assert isinstance(widget, TrainWidget)
    until(widget.train_button.isEnabled)


@pytest.mark.parametrize(
    ("changes", "patches", "steps"),
    [
        ({}, 10, 50),
        ({}, 4000, 500),
        ({"steps_per_epoch": 7}, 4000, 7),
        ({"sampling": "grid"}, 10, 2),
        ({"sampling": "grid", "steps_per_epoch": 7}, 17, 3),
    ],
)
def test_steps_are_those_of_the_feed(changes, patches, steps):
    assert steps_per_epoch(TrainingSettings(**changes), patches) == steps
