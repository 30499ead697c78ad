import math

import pytest

from napari_hrpn.analysis import AnalysisError, DoseCalibration, dose_per_mass, injected_dose


def test_one_percent_in_a_quarter_of_a_gram() -> None:
    found = dose_per_mass(1, 0.25)
    assert (found.percent_id_per_g, found.percent_id_per_kg) == (4, 4000)


def test_grey_levels_become_dose_by_the_calibration_alone() -> None:
    # 2 nmol injected; 30 grey levels above the background are 0.08 nmol per gram: 4 %ID/g, and 1 %ID in 0.25 g
    calibration = DoseCalibration(2.0, 0.25, grey_per_dose_per_g=375.0, background_grey=5.0)
    found = injected_dose(35.0, calibration)
    assert found.percent_id == pytest.approx(1)
    assert found.percent_id_per_g == pytest.approx(4)
    assert found.percent_id_per_kg == pytest.approx(4000)
    assert injected_dose(5.0, calibration).percent_id_per_g == 0


def test_without_a_calibration_it_is_refused_in_a_sentence() -> None:
    with pytest.raises(AnalysisError, match=r"no calibration.*expected.*measure"):
        injected_dose(35.0, None)


@pytest.mark.parametrize("field", ["injected_dose", "tumour_mass_g", "grey_per_dose_per_g", "background_grey"])
def test_wrong_calibrations_are_refused(field: str) -> None:
    right = {"injected_dose": 1.0, "tumour_mass_g": 0.2, "grey_per_dose_per_g": 10.0}
    with pytest.raises(AnalysisError, match=field):
        DoseCalibration(**{**right, field: math.nan})
    if field != "background_grey":
        with pytest.raises(AnalysisError, match=field):
            DoseCalibration(**{**right, field: 0.0})


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(AnalysisError, match="mass"):
        dose_per_mass(1, 0)
    with pytest.raises(AnalysisError, match="mean grey level"):
        injected_dose(math.nan, DoseCalibration(1.0, 1.0, 1.0))
