"""Statistics of images and slides, counted block by block; torch is not needed."""

from napari_hrpn.analysis.counts.blocks import BlockSums, block_side_px, update_blocks
from napari_hrpn.analysis.counts.intensity_histogram import ValueCounts, value_counts
from napari_hrpn.analysis.counts.joint_histogram import PairBins, PairCounts, pair_counts
from napari_hrpn.analysis.counts.moments import AgreementSums
from napari_hrpn.analysis.evaluation.patches import PatchAgreement, PatchFindings
from napari_hrpn.analysis.evaluation.pixels import ComparedPixels
from napari_hrpn.analysis.evaluation.slide_comparison import SlideComparison
from napari_hrpn.analysis.evaluation.slide_evaluation import EvaluationPart, EvaluationReport, evaluate_slide
from napari_hrpn.analysis.evaluation.vessels import VesselFindings, why_no_penetration
from napari_hrpn.analysis.quality.findings import Finding
from napari_hrpn.analysis.quality.slide_quality import SlideQuality, slide_quality
from napari_hrpn.analysis.region_numbers import RegionNumbers
from napari_hrpn.analysis.rois import (
    Calibration,
    PlacedRois,
    RandomRois,
    RoiImages,
    RoiMeasurement,
    calibrate_prediction,
    calibrated,
    calibration_facts,
    calibration_path,
    colocalize_roi,
    measure_roi,
    preview_roi,
    random_rois,
    roi_images,
    save_calibration,
    saved_calibration,
)
from napari_hrpn.analysis.scan.block_scan import BlockCounter, BlockMap, count_in_threads
from napari_hrpn.analysis.scan.slide_pairs import slide_pairs
from napari_hrpn.analysis.statistics.agreement import Agreement, agreement, slide_agreement
from napari_hrpn.analysis.statistics.anderson_darling import anderson_darling, anderson_darling_permutation
from napari_hrpn.analysis.statistics.biomarkers import ReferenceCohort, auroc, product_score, reference_cohort
from napari_hrpn.analysis.statistics.bootstrap import BlockIntervals, Interval, block_bootstrap, tumour_bootstrap
from napari_hrpn.analysis.statistics.colocalization import Colocalization, Manders, colocalization, manders
from napari_hrpn.analysis.statistics.distributions import (
    DistributionComparison,
    QuantilePairs,
    SharedHistogram,
    compare_distributions,
    histogram,
    kolmogorov_smirnov,
    quantile_pairs,
    wasserstein,
)
from napari_hrpn.analysis.statistics.error_model import ErrorModel
from napari_hrpn.analysis.statistics.feature_ranking import rank_features
from napari_hrpn.analysis.statistics.heterogeneity import (
    ChannelHeterogeneity,
    Heterogeneity,
    gini,
    heterogeneity,
    slide_heterogeneity,
)
from napari_hrpn.analysis.statistics.icc import icc
from napari_hrpn.analysis.statistics.injected_dose import DoseCalibration, dose_per_mass, injected_dose
from napari_hrpn.analysis.statistics.iou import IouPoint, iou_at, iou_curve
from napari_hrpn.analysis.statistics.mean_and_sd import MeanAndSd, mean_and_sd
from napari_hrpn.analysis.statistics.regression import regression
from napari_hrpn.analysis.statistics.spatial_autocorrelation import MORAN, morans_i
from napari_hrpn.analysis.statistics.tumour_intervals import TumourFactor, tumour_factor
from napari_hrpn.analysis.tissue.cell_density import CellDensity, CellSettings, cell_density
from napari_hrpn.analysis.tissue.intensity import background_levels, tissue_percentiles
from napari_hrpn.analysis.tissue.penetration import Beyond, Penetration, penetration
from napari_hrpn.analysis.tissue.slide_penetration import (
    ProbeImage,
    SlidePenetration,
    VesselProbe,
    glass_levels,
    slide_penetration,
)
from napari_hrpn.analysis.tissue.tissue_mask import (
    Subareas,
    TissueSettings,
    core_and_periphery,
    distance_bands,
    tissue_mask,
)
from napari_hrpn.analysis.tissue.vessel_mask import VesselMask, edited_vessel_mask, vessel_mask
from napari_hrpn.analysis.tissue.vessels import Vessel, VesselTable, measure_vessels
from napari_hrpn.core.errors import AgreementError, AnalysisError
from napari_hrpn.settings import EvaluationSettings, PenetrationSettings, VesselSettings
from napari_hrpn.settings.evaluation import PATCH_PX

__all__ = [
    "MORAN",
    "PATCH_PX",
    "Agreement",
    "AgreementError",
    "AgreementSums",
    "AnalysisError",
    "Beyond",
    "BlockCounter",
    "BlockIntervals",
    "BlockMap",
    "BlockSums",
    "Calibration",
    "CellDensity",
    "CellSettings",
    "ChannelHeterogeneity",
    "Colocalization",
    "ComparedPixels",
    "DistributionComparison",
    "DoseCalibration",
    "ErrorModel",
    "EvaluationPart",
    "EvaluationReport",
    "EvaluationSettings",
    "Finding",
    "Heterogeneity",
    "Interval",
    "IouPoint",
    "Manders",
    "MeanAndSd",
    "PairBins",
    "PairCounts",
    "PatchAgreement",
    "PatchFindings",
    "Penetration",
    "PenetrationSettings",
    "PlacedRois",
    "ProbeImage",
    "QuantilePairs",
    "RandomRois",
    "ReferenceCohort",
    "RegionNumbers",
    "RoiImages",
    "RoiMeasurement",
    "SharedHistogram",
    "SlideComparison",
    "SlidePenetration",
    "SlideQuality",
    "Subareas",
    "TissueSettings",
    "TumourFactor",
    "ValueCounts",
    "Vessel",
    "VesselFindings",
    "VesselMask",
    "VesselProbe",
    "VesselSettings",
    "VesselTable",
    "agreement",
    "anderson_darling",
    "anderson_darling_permutation",
    "auroc",
    "background_levels",
    "block_bootstrap",
    "block_side_px",
    "calibrate_prediction",
    "calibrated",
    "calibration_facts",
    "calibration_path",
    "cell_density",
    "colocalization",
    "colocalize_roi",
    "compare_distributions",
    "core_and_periphery",
    "count_in_threads",
    "distance_bands",
    "dose_per_mass",
    "edited_vessel_mask",
    "evaluate_slide",
    "gini",
    "glass_levels",
    "heterogeneity",
    "histogram",
    "icc",
    "injected_dose",
    "iou_at",
    "iou_curve",
    "kolmogorov_smirnov",
    "manders",
    "mean_and_sd",
    "measure_roi",
    "measure_vessels",
    "morans_i",
    "pair_counts",
    "penetration",
    "preview_roi",
    "product_score",
    "quantile_pairs",
    "random_rois",
    "rank_features",
    "reference_cohort",
    "regression",
    "roi_images",
    "save_calibration",
    "saved_calibration",
    "slide_agreement",
    "slide_heterogeneity",
    "slide_pairs",
    "slide_penetration",
    "slide_quality",
    "tissue_mask",
    "tissue_percentiles",
    "tumour_bootstrap",
    "tumour_factor",
    "update_blocks",
    "value_counts",
    "vessel_mask",
    "wasserstein",
    "why_no_penetration",
]
