"""How far apart distributions are, as rows for tables: sizes first, then a test; arranges numbers, computes none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.numbers_table import count
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import DistributionComparison
    from napari_hrpn.plugin.distributions.value_plots import Compared

HEADINGS = {
    "Prediction": "Compared with the real image",
    "n": "Pixels of the region",
    "W₁": "Wasserstein distance: how many grey levels a pixel has to change, on average, to make the two equal",
    "KS": "Largest difference between the two cumulative distributions: 0 equal, 1 apart throughout",
    "Q-Q slope": "Of the percentiles 1 to 99: below 1, dark and bright predicted pixels differ too little",
    "A-D": "k-sample Anderson-Darling statistic, about 0 for one distribution. Pixels are not independent, so it says\n"
    "whether, not how much, they differ; its table ends at the cap in the next column",
    "A-D cap": "Where the table of the test ends; no p-value is given, since neighbouring pixels repeat each other",
}


def size_rows(compared: Sequence[Compared]) -> tuple[list[list[str]], list[str]]:
    """Rows for a table under `HEADINGS`, and why numbers are missing."""
    rows = []
    for one in compared:
        sizes = one.comparison.sizes
        test = sizes.anderson_darling
        rows.append(
            [
                one.name,
                count(sizes.n_predicted),
                number(sizes.wasserstein),
                number(sizes.kolmogorov_smirnov),
                number(sizes.qq_slope),
                number(test.statistic),
                test.capped or "none",
            ]
        )
    return rows, [one.comparison.sizes.reason or one.name for one in compared]


def size_record(one: Compared, region: str) -> dict[str, object]:
    """The same of one prediction with all digits, for a file."""
    sizes: DistributionComparison = one.comparison.sizes
    return {
        "prediction": one.name,
        "region": region,
        "wasserstein": sizes.wasserstein,
        "kolmogorov_smirnov": sizes.kolmogorov_smirnov,
        "qq_slope": sizes.qq_slope,
        "qq_intercept": sizes.qq_intercept,
        "anderson_darling": sizes.anderson_darling.statistic,
        "anderson_darling_cap": sizes.anderson_darling.capped,
        "n_real": sizes.n_real,
        "n_predicted": sizes.n_predicted,
        "reason": sizes.reason,
    }
