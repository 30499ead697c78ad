"""Arrays in, numbers out; no torch. Every statistic streams over tiles."""

from napari_hrpn.analysis.agreement import Agreement, agreement, compute
from napari_hrpn.analysis.agreement_sums import AgreementError, AgreementSums, update
from napari_hrpn.analysis.anderson_darling import AndersonDarling, anderson_darling, anderson_darling_permutation
from napari_hrpn.analysis.biomarkers import Auroc, ReferenceCohort, auroc, product_score, reference_cohort
from napari_hrpn.analysis.blocks import BlockSums, block_side_px, correlation_length_px, update_blocks
from napari_hrpn.analysis.bootstrap import BlockIntervals, Interval, block_bootstrap, tumour_bootstrap
from napari_hrpn.analysis.cell_density import CellDensity, CellSettings, cell_density
from napari_hrpn.analysis.colocalization import Colocalization, Manders, colocalization, manders
from napari_hrpn.analysis.distance import Nearest, distance_tiles, nearest_in
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
from napari_hrpn.analysis.errors import AnalysisError
from napari_hrpn.analysis.evaluation import (
    ComparedPixels,
    EvaluationPart,
    EvaluationReport,
    EvaluationSettings,
    PatchAgreement,
    PatchFindings,
    RegionNumbers,
    SlideComparison,
    VesselFindings,
    evaluate_slide,
    part_costs,
    roi_box,
    why_no_penetration,
)
from napari_hrpn.analysis.feature_ranking import FeatureImportance, FeatureRanking, rank_features
from napari_hrpn.analysis.heterogeneity import (
    ChannelHeterogeneity,
    Heterogeneity,
    HeterogeneityReport,
    gini,
    heterogeneity,
    slide_heterogeneity,
)
from napari_hrpn.analysis.icc import IntraclassCorrelation, RaterSums, compute_icc, icc, rater_sums
from napari_hrpn.analysis.injected_dose import DoseCalibration, InjectedDose, dose_per_mass, injected_dose
from napari_hrpn.analysis.intensity import background_levels, tissue_percentiles
from napari_hrpn.analysis.iou import IouPoint, iou_at, iou_curve
from napari_hrpn.analysis.level_strips import StripReport
from napari_hrpn.analysis.patch_sums import PatchSums, no_patch_sums, update_patches
from napari_hrpn.analysis.penetration import Beyond, Penetration, Shell, compute_penetration, penetration
from napari_hrpn.analysis.pixel_pairs import PairBins, PairCounts, pair_counts
from napari_hrpn.analysis.quality import (
    ChannelShift,
    CrossTalk,
    Finding,
    GreyLevels,
    QualityReport,
    SlideQuality,
    Stitching,
    slide_quality,
)
from napari_hrpn.analysis.regression import Regression, regression
from napari_hrpn.analysis.roi_comparison import BlockDifferences, MeanAndSd, compare_blocks, mean_and_sd
from napari_hrpn.analysis.roi_counting import RoiReport
from napari_hrpn.analysis.roi_geometry import (
    LabelledRoi,
    Roi,
    reaches_beyond,
    roi_bounds,
    roi_digest,
    roi_extent,
    roi_mask,
)
from napari_hrpn.analysis.roi_levels import BlockCache, RoiImages, SharedLevel, roi_images
from napari_hrpn.analysis.roi_measurement import (
    RoiMeasurement,
    RoiNumbers,
    colocalize_roi,
    measure_roi,
    preview_roi,
)
from napari_hrpn.analysis.roi_outlines import label_outline, one_stroke, outlined
from napari_hrpn.analysis.roi_placement import PlacedRois, RandomRois, random_rois
from napari_hrpn.analysis.shell_sums import (
    PenetrationSettings,
    ShellSums,
    no_shell_sums,
    update_shells,
)
from napari_hrpn.analysis.slide_agreement import SlideAgreement, slide_agreement
from napari_hrpn.analysis.slide_pairs import PairReport, SlidePairs, slide_pairs
from napari_hrpn.analysis.slide_penetration import ProbeImage, SlidePenetration, VesselProbe, slide_penetration
from napari_hrpn.analysis.spatial_autocorrelation import MoransI, morans_i
from napari_hrpn.analysis.tissue import TissueMask, TissueSettings, tissue_mask
from napari_hrpn.analysis.value_counts import ValueBins, ValueCounts, bins_between, bins_of_types, value_counts
from napari_hrpn.analysis.vessel_mask import VesselMask, VesselSettings, edited_vessel_mask, vessel_mask
from napari_hrpn.analysis.vessels import Vessel, VesselTable, measure_vessels

__all__ = [
    "Agreement",
    "AgreementError",
    "AgreementSums",
    "AnalysisError",
    "AndersonDarling",
    "Auroc",
    "Beyond",
    "BlockCache",
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
    "HeterogeneityReport",
    "InjectedDose",
    "Interval",
    "IntraclassCorrelation",
    "IouPoint",
    "LabelledRoi",
    "Manders",
    "MeanAndSd",
    "MoransI",
    "Nearest",
    "PairBins",
    "PairCounts",
    "PairReport",
    "PatchAgreement",
    "PatchFindings",
    "PatchSums",
    "Penetration",
    "PenetrationSettings",
    "PlacedRois",
    "ProbeImage",
    "QualityReport",
    "QuantilePairs",
    "RandomRois",
    "RaterSums",
    "ReferenceCohort",
    "RegionNumbers",
    "Regression",
    "Roi",
    "RoiImages",
    "RoiMeasurement",
    "RoiNumbers",
    "RoiReport",
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
    "StripReport",
    "TissueMask",
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
    "correlation_length_px",
    "distance_tiles",
    "dose_per_mass",
    "edited_vessel_mask",
    "evaluate_slide",
    "gini",
    "heterogeneity",
    "histogram",
    "icc",
    "injected_dose",
    "iou_at",
    "iou_curve",
    "kolmogorov_smirnov",
    "label_outline",
    "manders",
    "mean_and_sd",
    "measure_roi",
    "measure_vessels",
    "morans_i",
    "nearest_in",
    "no_patch_sums",
    "no_shell_sums",
    "one_stroke",
    "outlined",
    "pair_counts",
    "part_costs",
    "penetration",
    "preview_roi",
    "product_score",
    "quantile_pairs",
    "random_rois",
    "rank_features",
    "rater_sums",
    "reaches_beyond",
    "reference_cohort",
    "regression",
    "roi_bounds",
    "roi_box",
    "roi_digest",
    "roi_extent",
    "roi_images",
    "roi_mask",
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
