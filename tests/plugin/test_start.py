"""napari starts, and opens the widgets, without waiting for torch."""

import subprocess
import sys

from npe2 import PluginManifest


def test_what_the_manifest_names_does_not_import_torch():
    commands = PluginManifest.from_distribution("napari-hrpn").contributions.commands
    modules = sorted({command.python_name.partition(":")[0] for command in commands})
    assert "napari_hrpn.plugin.train.widget" in modules
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("False", 0), done.stderr


def test_each_widget_stands_once_in_the_menus():
    contributions = PluginManifest.from_distribution("napari-hrpn").contributions
    # napari lists widgets under Plugins by itself
    widgets = {widget.command for widget in contributions.widgets}
    elsewhere = [item.command for items in contributions.menus.values() for item in items]
    assert len(widgets) == len(contributions.widgets)
    assert not widgets.intersection(elsewhere)
