"""Settings of a phantom, and its presets.

Intensities are grey levels of an 8-bit detector for any value of `bits`, so that a preset looks the same at 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType


class PhantomError(ValueError):
    """A phantom cannot be made from its settings; the message is one sentence for the user."""


@dataclass(frozen=True)
class PhantomSettings:
    """Parameters of a synthetic tumour section, except for its seed.

    Attributes
    ----------
    name : str
        Name of the preset, which becomes part of the slide's name.
    size : int
        Default height and width in pixels.
    pixel_size_um : float
        Side of a pixel in µm.
    has_outline : bool
        Whether the tissue has an irregular border with blank glass around it and a necrotic part within; otherwise
        tissue fills the slide.
    necrosis : float
        Share of the deep tissue that is necrotic (few nuclei, no vessels), 0 to 1.
    vessel_density_per_mm2, vessel_distance_um : float
        Mean density of vessel centres and the smallest distance between two of them.
    vessel_clustering, vessel_clustering_um : float
        SD of the logarithm of the local vessel density, and the length over which it varies.
    vessel_radius_um, vessel_radius_sd : float
        Median lumen radius and SD of its logarithm.
    vessel_half_length_um, vessel_half_length_sd : float
        Median half length of a vessel's axis in the section and SD of its logarithm.
    vessel_bend : float
        SD of the angle, in radians, by which half a vessel's axis bends.
    vessel_wall_um : float
        SD of the Gaussian profile of the wall across its thickness.
    vessel_brightness_sd : float
        SD of the logarithm of the CD31 brightness of a vessel.
    solid_vessel_um : float
        Vessels with a lumen radius up to this are stained all over, as capillaries are in a section; wider ones have a
        bright wall and a dark lumen.
    section_sd, section_um : float
        SD of the logarithm of how much of a vessel lies within the section and in focus, and the length over which it
        varies. It dims the stain and the probe that is still in the vessel alike.
    perfused_share : float
        Share of the vessels that carry probe, 0 to 1; the others are stained but neither leak nor retain any.
    nucleus_density_per_mm2, nucleus_distance_um : float
        Mean density of nuclei and the smallest distance between two centres.
    nucleus_clustering, nucleus_clustering_um : float
        SD of the logarithm of the local nucleus density, and the length over which it varies.
    nest_avoidance : float
        How much cells and vessels avoid each other: the negative correlation of the fields that cluster them.
    nucleus_radius_um, nucleus_radius_sd : float
        Median long semi-axis and SD of its logarithm.
    chromatin_contrast : float
        SD of the texture inside a nucleus relative to its brightness.
    penetration_um : float
        Length lambda = sqrt(D/k) over which the probe's concentration falls in tissue of mean cell density.
    uptake_rise : float
        Share of k that is proportional to the local cell density, 0 (k constant) to 1.
    permeability_visible : float
        Decrease of ln P per unit of ln CD31 brightness: dimmer vessels leak more; if negative, brighter ones.
    permeability_hidden_sd : float
        SD of the part of ln P that shows in no input; it sets the variance that cannot be predicted.
    perinuclear_uptake : float
        Probe in the shell around a nucleus, relative to the extracellular concentration.
    nuclear_exclusion : float
        Share of the probe signal that is missing inside a nucleus, 0 to 1.
    retained_share : float
        Share of the probe that is still in lumen and wall of its vessel, 0 to 1; the rest has left.
    retained_grey, retained_sd : float
        Mean brightness of a perfused vessel that has retained all, and SD of its logarithm from vessel to vessel, which
        shows in no input.
    floor_grey : float
        Mean autofluorescence of tissue in the probe channel, which nuclei exclude like the probe.
    floor_texture_sd, floor_texture_um : float
        SD of the logarithm of that autofluorescence, and the length over which it varies. The texture shows in no input
        but, like the hidden permeability, belongs to the noise-free image.
    has_independent_probe : bool
        Whether the probe leaks from a second, hidden set of vessels and ignores nuclei, so that it is independent of
        the inputs.
    nuclei_grey, vessels_grey, probe_grey : float
        Mean brightness in 8-bit grey levels of a nucleus, of a vessel wall and of the probe in tissue.
    tissue_grey : float
        Autofluorescence of tissue in the two input channels, in grey levels.
    haze, haze_um : float
        Light of nuclei out of focus, as a share of that in focus, and the SD of its Gaussian blur.
    input_gain, input_offset_grey : tuple of float
        Factor of the light of nuclei and of vessels, and what is added to `offset_grey` in each.
    offset_grey : float
        Reading of the detector without light, in grey levels.
    electrons_per_grey, probe_electrons_per_grey : float
        Electrons per grey level of the inputs and of the probe: the fewer, the more noise.
    read_noise_electrons : float
        SD of the electronic noise.
    psf_um : float
        SD of the Gaussian point-spread function.
    cross_talk : float
        Share of the nuclei seen in the vessel channel, and of the vessels in the probe channel.
    probe_shift_um : tuple of float
        Displacement (y, x) of the probe channel.
    shading : float
        Loss of light in the corners of a camera field of `shading_field_px`, 0 to 1.
    shading_field_px : int
        Side of a camera field.
    bits : int
        8 or 16 bits per pixel.
    is_varied : bool
        Whether each seed draws a regime of its own in place of most of the above; not of sizes, outline and bits.
    removed_vessels_um : tuple of (float, float)
        Centres (y, x) of vessels that are left out, within 1 µm; everything else stays as it is, and where a vessel
        was there are no nuclei.
    """

    name: str = "tumour"
    size: int = 4096
    pixel_size_um: float = 0.2744
    has_outline: bool = True
    necrosis: float = 0.15
    vessel_density_per_mm2: float = 150.0
    vessel_distance_um: float = 20.0
    vessel_clustering: float = 0.4
    vessel_clustering_um: float = 120.0
    vessel_radius_um: float = 5.0
    vessel_radius_sd: float = 0.35
    vessel_half_length_um: float = 5.0
    vessel_half_length_sd: float = 0.6
    vessel_bend: float = 0.0
    vessel_wall_um: float = 0.9
    vessel_brightness_sd: float = 0.3
    solid_vessel_um: float = 0.0
    section_sd: float = 0.0
    section_um: float = 4.0
    perfused_share: float = 1.0
    nucleus_density_per_mm2: float = 4000.0
    nucleus_distance_um: float = 6.5
    nucleus_clustering: float = 0.65
    nucleus_clustering_um: float = 70.0
    nest_avoidance: float = 0.45
    nucleus_radius_um: float = 4.6
    nucleus_radius_sd: float = 0.15
    chromatin_contrast: float = 0.22
    penetration_um: float = 30.0
    uptake_rise: float = 0.9
    permeability_visible: float = 1.0
    permeability_hidden_sd: float = 0.4
    perinuclear_uptake: float = 0.15
    nuclear_exclusion: float = 0.5
    retained_share: float = 0.0
    retained_grey: float = 50.0
    retained_sd: float = 0.5
    floor_grey: float = 0.0
    floor_texture_sd: float = 0.2
    floor_texture_um: float = 5.0
    has_independent_probe: bool = False
    nuclei_grey: float = 90.0
    vessels_grey: float = 110.0
    probe_grey: float = 25.0
    tissue_grey: float = 8.0
    haze: float = 0.0
    haze_um: float = 8.0
    input_gain: tuple[float, float] = (1.0, 1.0)
    input_offset_grey: tuple[float, float] = (0.0, 0.0)
    offset_grey: float = 5.0
    electrons_per_grey: float = 4.0
    probe_electrons_per_grey: float = 1.0
    read_noise_electrons: float = 2.0
    psf_um: float = 0.3
    cross_talk: float = 0.0
    probe_shift_um: tuple[float, float] = (0.0, 0.0)
    shading: float = 0.0
    shading_field_px: int = 2048
    bits: int = 8
    is_varied: bool = False
    removed_vessels_um: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        _check_positive(self)
        _check_inputs(self)
        _check_reach(self)
        if self.bits not in (8, 16):
            msg = f"a phantom has 8 or 16 bits per pixel, not {self.bits}; set bits to one of them"
            raise PhantomError(msg)

    @property
    def grey_unit(self) -> float:
        """Detector units in one 8-bit grey level: 1 at 8 bits, 257 at 16."""
        return 1.0 if self.bits == 8 else 257.0


_SHARES = (
    *("necrosis", "nest_avoidance", "uptake_rise", "nuclear_exclusion", "cross_talk", "shading"),
    *("perfused_share", "retained_share"),
)
_SIGNED = ("permeability_visible",)
_MAY_BE_ZERO = (
    *_SHARES,
    *("vessel_distance_um", "vessel_clustering", "vessel_radius_sd", "vessel_half_length_um"),
    *("vessel_half_length_sd", "vessel_brightness_sd", "nucleus_distance_um", "nucleus_clustering"),
    *("nucleus_radius_sd", "chromatin_contrast", "permeability_hidden_sd", "retained_sd"),
    *("perinuclear_uptake", "tissue_grey", "offset_grey", "read_noise_electrons", "psf_um"),
    *("vessel_density_per_mm2", "nucleus_density_per_mm2"),
    *("solid_vessel_um", "vessel_bend", "section_sd", "floor_grey", "floor_texture_sd", "haze"),
)
_PIXEL_SIZES_UM = (0.1, 1.2)
_FURTHEST_PX = 1000
_WIDEST_BLUR_PX = 2
_FURTHEST_SHIFT_PX = 8


def _check_positive(settings: PhantomSettings) -> None:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if field.name in _SIGNED and math.isfinite(value):
            continue
        may_be_zero = field.name in _MAY_BE_ZERO
        highest = 1.0 if field.name in _SHARES else math.inf
        if not (0 <= value <= highest and math.isfinite(value)) or (value == 0 and not may_be_zero):
            bound = "0 to 1" if field.name in _SHARES else "0 or more" if may_be_zero else "more than 0"
            msg = f"{field.name} of a phantom is {value}; give a number, {bound}"
            raise PhantomError(msg)


def _check_inputs(settings: PhantomSettings) -> None:
    for name, lowest, bound in (("input_gain", math.ulp(0.0), "above 0"), ("input_offset_grey", 0.0, "0 or more")):
        values = getattr(settings, name)
        if len(values) != 2 or not all(lowest <= value < math.inf for value in values):
            msg = f"{name} of a phantom is {values}; give two numbers, {bound}: for nuclei and for vessels"
            raise PhantomError(msg)


def _check_reach(settings: PhantomSettings) -> None:
    """Refuse distances beyond the fixed margin with which each cell of the phantom is made."""
    pixel = settings.pixel_size_um
    if not _PIXEL_SIZES_UM[0] <= pixel <= _PIXEL_SIZES_UM[1]:
        msg = f"pixel_size_um of a phantom is {pixel}; give {_PIXEL_SIZES_UM[0]} to {_PIXEL_SIZES_UM[1]} µm"
        raise PhantomError(msg)
    for name, reach_um, most in (
        ("penetration_um", settings.penetration_um, _FURTHEST_PX),
        ("psf_um", settings.psf_um, _WIDEST_BLUR_PX),
        ("probe_shift_um", max(abs(shift) for shift in settings.probe_shift_um), _FURTHEST_SHIFT_PX),
    ):
        if not reach_um <= most * pixel:
            msg = f"{name} of a phantom is {reach_um} µm; give at most {most} pixels, {most * pixel:g} µm"
            raise PhantomError(msg)


_TUMOUR = PhantomSettings()
# a bed of capillaries with a tracer that is still in them, over an autofluorescent floor, tuned by
# benchmarks/phantom_statistics.py
_INTRAVASCULAR = PhantomSettings(
    name="intravascular",
    size=1024,
    pixel_size_um=0.69,
    has_outline=False,
    vessel_density_per_mm2=1300.0,
    vessel_distance_um=8.0,
    vessel_radius_um=1.4,
    vessel_half_length_um=7.0,
    vessel_bend=0.8,
    vessel_wall_um=0.7,
    vessel_brightness_sd=0.35,
    solid_vessel_um=5.0,
    section_sd=0.55,
    nucleus_density_per_mm2=12000.0,
    nucleus_distance_um=3.4,
    nucleus_clustering=0.1,
    nest_avoidance=0.2,
    nucleus_radius_um=4.0,
    penetration_um=5.0,
    permeability_visible=0.0,
    nuclear_exclusion=0.0,
    retained_share=0.95,
    retained_grey=55.0,
    retained_sd=0.85,
    probe_grey=20.0,
    floor_grey=20.0,
    floor_texture_sd=0.15,
    nuclei_grey=30.0,
    haze=1.0,
    haze_um=6.0,
    vessels_grey=60.0,
    tissue_grey=3.0,
    offset_grey=2.0,
    probe_electrons_per_grey=4.0,
    psf_um=0.5,
)

PHANTOM_PRESETS: Mapping[str, PhantomSettings] = MappingProxyType(
    {
        "tiny": replace(_TUMOUR, name="tiny", size=256, has_outline=False),
        "tumour": _TUMOUR,
        "paper_like": replace(_TUMOUR, name="paper_like", probe_grey=4.4, probe_electrons_per_grey=8.0),
        "stress": replace(
            _TUMOUR,
            name="stress",
            nuclei_grey=220.0,
            vessels_grey=260.0,
            probe_grey=90.0,
            cross_talk=0.15,
            probe_shift_um=(0.8, -0.5),
            shading=0.4,
        ),
        "null": replace(_TUMOUR, name="null", has_outline=False, has_independent_probe=True),
        "intravascular": _INTRAVASCULAR,
        "extravasated": replace(
            _INTRAVASCULAR, name="extravasated", retained_share=0.1, probe_grey=30.0, penetration_um=25.0
        ),
        "varied": replace(_TUMOUR, name="varied", size=1024, pixel_size_um=0.55, is_varied=True),
    }
)
