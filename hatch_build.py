"""Long description for package indexes: README.md without links that work in a checkout only."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]*)\)")


def description(readme: str, source: str) -> str:
    """README with links below the address of the source; without an address, words remain and pictures go."""

    def _absolute(link: re.Match[str]) -> str:
        mark, words, path = link.groups()
        if not source:
            return "" if mark else words
        return f"{mark}[{words}]({source.rstrip('/')}/{'raw' if mark else 'blob'}/HEAD/{path})"

    return _RELATIVE.sub(_absolute, readme)


class CustomMetadataHook(MetadataHookInterface):
    """Sets the long description; hatchling finds this class by its base."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read README.md of the checkout."""
        source = metadata.get("urls", {}).get("Source", "")
        text = description(Path(self.root, "README.md").read_text("utf-8"), source)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
