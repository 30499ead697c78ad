"""``napari-hrpn models``: the checkpoints that come with the program, with their cards and figures."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_hrpn.models import Checkpoint

_FIGURES = ("validation_r", "validation_r2", "left_out_r", "left_out_r2")
_WIDTH = 100


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False) -> None:
    """List the checkpoints that come with the program: what each was trained on, and what it is for.

    The whole card of one is shown by info --checkpoint NAME.

    \b
    Examples:
      napari-hrpn models
      napari-hrpn info --checkpoint synthetic
      napari-hrpn predict slide.ome.tif -o out --checkpoint synthetic
    """  # noqa: D301
    from napari_hrpn.models import checkpoint_path, load_checkpoint
    from napari_hrpn.settings.networks import BUNDLED

    bundled = {name: load_checkpoint(checkpoint_path(name)) for name in BUNDLED}
    if as_json:
        facts = {name: card_facts(checkpoint) for name, checkpoint in bundled.items()}
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for name, checkpoint in bundled.items():
        typer.echo("\n".join(_described(name, checkpoint)))


def card_facts(checkpoint: Checkpoint) -> dict[str, object]:
    """Card of a checkpoint, with what identifies it, for JSON."""
    return {"architecture": checkpoint.architecture, "digest": checkpoint.digest, **asdict(checkpoint.card)}


def _described(name: str, checkpoint: Checkpoint) -> list[str]:
    card = checkpoint.card
    size = "any" if card.pixel_size_um is None else f"{card.pixel_size_um:g} µm{' (resampled to)' * card.resamples}"
    figures = ", ".join(f"{key.replace('_', ' ')} {card.metrics[key]:.3f}" for key in _FIGURES if card.metrics.get(key))
    facts = {
        "": card.description,
        "inputs": f"{', '.join(card.input_roles)} -> {card.target}; pixels of {size}",
        "valid for": card.valid_for,
        "not for": card.not_for,
        "figures": figures,
        "digest": checkpoint.digest,
    }
    lines = [f"{name}: {card.title}"]
    for key, value in facts.items():
        if value:
            lead = f"  {key}: " if key else "  "
            lines += textwrap.wrap(value, _WIDTH, initial_indent=lead, subsequent_indent="    ")
    return lines
