"""Per cent injected dose (%ID, %ID/g) from grey levels, with a calibration by the user."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from napari_hrpn.core.errors import AnalysisError

_GRAMS_PER_KG = 1000


@dataclass(frozen=True)
class DoseCalibration:
    """Calibration of the grey levels of a probe channel as injected dose.

    The dose may be in any unit (µg, nmol, GBq, particles), the same in both fields. The grey level per dose comes
    from standards of known content that were cut, mounted and exposed like the slide.

    Attributes
    ----------
    injected_dose : float
        Dose that the animal received.
    tumour_mass_g : float
        Mass of the whole tumour in gram.
    grey_per_dose_per_g : float
        Grey levels above the background for one unit of dose per gram of tissue.
    background_grey : float
        Mean grey level of tissue without the probe.
    """

    injected_dose: float
    tumour_mass_g: float
    grey_per_dose_per_g: float
    background_grey: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or (value <= 0 and field.name != "background_grey"):
                msg = f"{field.name} of the calibration is {value}; expected a number, more than 0"
                raise AnalysisError(msg)


@dataclass(frozen=True)
class InjectedDose:
    """Injected dose in a tumour, if its section is representative of the whole tumour."""

    percent_id: float  # per cent of the injected dose in the tumour
    # the same per gram and per kilogram of tumour; negative if the section is darker than the background
    percent_id_per_g: float
    percent_id_per_kg: float


def injected_dose(mean_grey: float, calibration: DoseCalibration | None) -> InjectedDose:
    """Convert the mean grey level of a probe in tissue to the injected dose in the tumour.

    (mean_grey - background) / grey_per_dose_per_g is the dose per gram; 100 / injected_dose makes it %ID/g.

    Parameters
    ----------
    mean_grey : float
        Mean over the tissue of a section, real or predicted.
    calibration : DoseCalibration or None
        Calibration by the user.

    Returns
    -------
    InjectedDose
        %ID, %ID/g and %ID/kg.

    Raises
    ------
    AnalysisError
        Without a calibration, or if the grey level is not a number.
    """
    if calibration is None:
        msg = (
            "there is no calibration, and a dose cannot be derived from grey levels alone; expected the injected dose, "
            "the tumour's mass and the grey level per dose and gram of standards: measure them or report grey levels"
        )
        raise AnalysisError(msg)
    if not math.isfinite(mean_grey):
        msg = f"the mean grey level is {mean_grey}; expected a finite number, such as the mean over the tissue"
        raise AnalysisError(msg)
    dose_per_g = (mean_grey - calibration.background_grey) / calibration.grey_per_dose_per_g
    percent = 100 * dose_per_g * calibration.tumour_mass_g / calibration.injected_dose
    return dose_per_mass(percent, calibration.tumour_mass_g)


def dose_per_mass(percent_id: float, tumour_mass_g: float) -> InjectedDose:
    """Divide a share of the injected dose by the mass of the tumour.

    Parameters
    ----------
    percent_id : float
        Per cent of the injected dose in the whole tumour, such as from a gamma counter.
    tumour_mass_g : float
        Mass of the tumour in gram.

    Returns
    -------
    InjectedDose
        %ID, %ID/g and %ID/kg.

    Raises
    ------
    AnalysisError
        If there is no mass.

    Examples
    --------
    >>> dose_per_mass(1, 0.25)
    InjectedDose(percent_id=1, percent_id_per_g=4.0, percent_id_per_kg=4000.0)
    """
    if not (math.isfinite(tumour_mass_g) and tumour_mass_g > 0):
        msg = f"the tumour's mass is {tumour_mass_g} g; expected more than 0"
        raise AnalysisError(msg)
    per_g = percent_id / tumour_mass_g
    return InjectedDose(percent_id, per_g, _GRAMS_PER_KG * per_g)
