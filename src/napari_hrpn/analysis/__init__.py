"""Statistics of images and slides, streamed over blocks; without torch."""

from napari_hrpn.analysis.agreement import Agreement, agreement, compute
from napari_hrpn.analysis.anderson_darling import AndersonDarling, anderson_darling, anderson_darling_permutation
from napari_hrpn.analysis.biomarkers import Auroc, ReferenceCohort, auroc, product_score, reference_cohort
from napari_hrpn.analysis.block_scan import BlockCounter, Looks, look_at, looks_in_threads
from napari_hrpn.analysis.blocks import (
    BlockSums,
    PatchBlocks,
    block_side_px,
    correlation_length_px,
    patch_blocks,
    update_blocks,
)
from napari_hrpn.analysis.bootstrap import (
    BlockDifferences,
    BlockIntervals,
    Interval,
    block_bootstrap,
    compare_blocks,
    tumour_bootstrap,
)
from napari_hrpn.analysis.cell_density import CellDensity, CellSettings, cell_density
from napari_hrpn.analysis.colocalization import Colocalization, Manders, colocalization, manders
from napari_hrpn.analysis.distance import Nearest, distance_tiles, nearest_in
from napari_hrpn.analysis.distance_shells import (
    ShellSums,
    no_shell_sums,
    update_shells,
)
from napari_hrpn.analysis.distributions import (
    DistributionComparison,
    QuantilePairs,
    SharedHistogram,
    compare_distributions,
    histogram,
    kolmogorov_smirnov,
    quantile_pairs,
    wasserstein,
)
from napari_hrpn.analysis.evaluation import (
    ComparedPixels,
    EvaluationPart,
    EvaluationReport,
    EvaluationSettings,
    PatchAgreement,
    PatchFindings,
    SlideComparison,
    VesselFindings,
    evaluate_slide,
    part_names,
    why_no_penetration,
)
from napari_hrpn.analysis.feature_ranking import FeatureImportance, FeatureRanking, rank_features
from napari_hrpn.analysis.heterogeneity import (
    ChannelHeterogeneity,
    Heterogeneity,
    gini,
    heterogeneity,
    slide_heterogeneity,
)
from napari_hrpn.analysis.icc import IntraclassCorrelation, RaterSums, compute_icc, icc, icc_over_blocks, rater_sums
from napari_hrpn.analysis.injected_dose import DoseCalibration, InjectedDose, dose_per_mass, injected_dose
from napari_hrpn.analysis.intensity import background_levels, tissue_percentiles
from napari_hrpn.analysis.intensity_histogram import ValueBins, ValueCounts, bins_between, bins_of_types, value_counts
from napari_hrpn.analysis.iou import IouPoint, iou_at, iou_curve
from napari_hrpn.analysis.joint_histogram import PairBins, PairCounts, pair_counts
from napari_hrpn.analysis.mean_and_sd import MeanAndSd, mean_and_sd
from napari_hrpn.analysis.moments import AgreementSums, update
from napari_hrpn.analysis.patch_sums import PatchSums, no_patch_sums, update_patches
from napari_hrpn.analysis.penetration import Beyond, Penetration, Shell, compute_penetration, penetration
from napari_hrpn.analysis.quality import (
    ChannelShift,
    CrossTalk,
    Finding,
    GreyLevels,
    SlideQuality,
    Stitching,
    slide_quality,
)
from napari_hrpn.analysis.region_numbers import RegionNumbers
from napari_hrpn.analysis.regression import Regression, regression
from napari_hrpn.analysis.rois import (
    PlacedRois,
    RandomRois,
    RoiImages,
    RoiMeasurement,
    colocalize_roi,
    measure_roi,
    preview_roi,
    random_rois,
    roi_images,
)
from napari_hrpn.analysis.rois.levels import SharedLevel, shared_levels
from napari_hrpn.analysis.slide_agreement import SlideAgreement, slide_agreement
from napari_hrpn.analysis.slide_pairs import SlidePairs, slide_pairs
from napari_hrpn.analysis.slide_penetration import (
    ProbeImage,
    SlidePenetration,
    VesselProbe,
    glass_levels,
    slide_penetration,
)
from napari_hrpn.analysis.spatial_autocorrelation import MORAN, MoransI, morans_i
from napari_hrpn.analysis.tissue import (
    Subareas,
    TissueSettings,
    core_and_periphery,
    distance_bands,
    tissue_mask,
)
from napari_hrpn.analysis.vessel_mask import VesselMask, edited_vessel_mask, vessel_mask
from napari_hrpn.analysis.vessels import Vessel, VesselTable, measure_vessels
from napari_hrpn.core.errors import AgreementError, AnalysisError
from napari_hrpn.settings import PenetrationSettings, VesselSettings
from napari_hrpn.settings.evaluation import PATCH_PX

__all__ = [
    "MORAN",
    "PATCH_PX",
    "Agreement",
    "AgreementError",
    "AgreementSums",
    "AnalysisError",
    "AndersonDarling",
    "Auroc",
    "Beyond",
    "BlockCounter",
    "BlockDifferences",
    "BlockIntervals",
    "BlockSums",
    "CellDensity",
    "CellSettings",
    "ChannelHeterogeneity",
    "ChannelShift",
    "Colocalization",
    "ComparedPixels",
    "CrossTalk",
    "DistributionComparison",
    "DoseCalibration",
    "EvaluationPart",
    "EvaluationReport",
    "EvaluationSettings",
    "FeatureImportance",
    "FeatureRanking",
    "Finding",
    "GreyLevels",
    "Heterogeneity",
    "InjectedDose",
    "Interval",
    "IntraclassCorrelation",
    "IouPoint",
    "Looks",
    "Manders",
    "MeanAndSd",
    "MoransI",
    "Nearest",
    "PairBins",
    "PairCounts",
    "PatchAgreement",
    "PatchBlocks",
    "PatchFindings",
    "PatchSums",
    "Penetration",
    "PenetrationSettings",
    "PlacedRois",
    "ProbeImage",
    "QuantilePairs",
    "RandomRois",
    "RaterSums",
    "ReferenceCohort",
    "RegionNumbers",
    "Regression",
    "RoiImages",
    "RoiMeasurement",
    "SharedHistogram",
    "SharedLevel",
    "Shell",
    "ShellSums",
    "SlideAgreement",
    "SlideComparison",
    "SlidePairs",
    "SlidePenetration",
    "SlideQuality",
    "Stitching",
    "Subareas",
    "TissueSettings",
    "ValueBins",
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
    "bins_between",
    "bins_of_types",
    "block_bootstrap",
    "block_side_px",
    "cell_density",
    "colocalization",
    "colocalize_roi",
    "compare_blocks",
    "compare_distributions",
    "compute",
    "compute_icc",
    "compute_penetration",
    "core_and_periphery",
    "correlation_length_px",
    "distance_bands",
    "distance_tiles",
    "dose_per_mass",
    "edited_vessel_mask",
    "evaluate_slide",
    "gini",
    "glass_levels",
    "heterogeneity",
    "histogram",
    "icc",
    "icc_over_blocks",
    "injected_dose",
    "iou_at",
    "iou_curve",
    "kolmogorov_smirnov",
    "look_at",
    "looks_in_threads",
    "manders",
    "mean_and_sd",
    "measure_roi",
    "measure_vessels",
    "morans_i",
    "nearest_in",
    "no_patch_sums",
    "no_shell_sums",
    "pair_counts",
    "part_names",
    "patch_blocks",
    "penetration",
    "preview_roi",
    "product_score",
    "quantile_pairs",
    "random_rois",
    "rank_features",
    "rater_sums",
    "reference_cohort",
    "regression",
    "roi_images",
    "shared_levels",
    "slide_agreement",
    "slide_heterogeneity",
    "slide_pairs",
    "slide_penetration",
    "slide_quality",
    "tissue_mask",
    "tissue_percentiles",
    "tumour_bootstrap",
    "update",
    "update_blocks",
    "update_patches",
    "update_shells",
    "value_counts",
    "vessel_mask",
    "wasserstein",
    "why_no_penetration",
]
