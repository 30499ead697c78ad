"""One program at a time works in a folder; others are told so in a sentence."""

import contextlib
import threading

import pytest

from napari_hrpn.core.files import locked_folder
from napari_hrpn.slides import SlideError


def locked(folder):
    return locked_folder(folder, SlideError, "painting in", "picture")


def test_a_folder_is_made_and_taken_until_the_block_ends_however_it_ends(tmp_path):
    folder = tmp_path / "new" / "folder"
    with contextlib.suppress(KeyError), locked(folder):
        with pytest.raises(SlideError, match=r"^another program is painting in .*folder; wait for it"), locked(folder):
            pass
        raise KeyError
    with locked(folder):
        assert folder.is_dir()


def test_it_may_be_given_back_in_another_thread(tmp_path):
    lock = locked(tmp_path)
    lock.__enter__()
    thread = threading.Thread(target=lock.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SlideError, match=r"cannot be written \(.+\); choose another folder for the picture\.$"):
        locked(tmp_path / "file" / "folder").__enter__()
