"""What each number of an evaluation is, in a sentence."""

DEFINITIONS = {
    "n": "Pixels, patches, vessels or tumours that a number was taken from.",
    "MSE, RMSE": "Mean squared difference of predicted and real grey levels over all pixels together, and its root.",
    "R²": "1 - SSE/SST over all pixels of the region together: 1 is perfect, 0 is no better than the mean of the real "
    "image, negative is worse.",
    "PSNR": "20 log10(MAX / RMSE) in dB, MAX being the largest value of the pixel type unless stated otherwise; a dark "
    "image has a high PSNR whatever is predicted.",
    "Pearson r": "Correlation of real and predicted pixels; blind to gain and offset.",
    "R_total": "The same without the pixels that are zero in both, as Fiji's Colocalization Threshold gives it.",
    "slope, intercept": "Least-squares line: predicted = intercept + slope x real; a slope below 1 is a prediction "
    "with too little contrast.",
    "intervals": "By spatial block bootstrap: blocks of six correlation lengths are drawn with replacement, since "
    "neighbouring pixels repeat each other; there is no p-value from pixels.",
    "ICC(A,1)": "Intraclass correlation for absolute agreement, lowered by scatter and by bias.",
    "bias": "Mean predicted minus mean real grey level.",
    "IoU": "Pixels at or above a threshold in both images over those in any; the paper's MIoU; the mean IoU "
    "also counts the dark pixels as a class.",
    "chance": "IoU of two masks of the same size f that have nothing to do with each other, f / (2 - f).",
    "tied": "Percentiles at which many pixels share a grey level, so that the mask is clearly larger than said.",
    "Q-Q slope": "Slope of predicted against real percentiles 1 to 99; 1 for equally wide distributions.",
    "Wasserstein distance": "How many grey levels a pixel has to change, on average, to make the distributions equal.",
    "Anderson-Darling": "k-sample statistic with its table's p, which is capped at 0.25 and 0.001 and takes pixels for "
    "independent; the p from exchanging patches does not.",
    "Manders M1, M2": "Share of the real signal where the predicted one is above zero, and the other way round.",
    "overlap, Li's ICQ": "Sum of products over the root of the product of the sums of squares; and the share of pixels "
    "on the same side of both means, less a half.",
    "Costes thresholds": "Grey levels below which the pixels of a region are no longer positively correlated.",
    "patch": "A square of the slide; it counts where at least half of it is tissue.",
    "CV, Gini, Moran's I": "How unequal patches are (SD over mean, and 0 equal to 1 all in one), and whether like "
    "patches lie together.",
    "penetration": "Mean grey level over the distance from the edge of the nearest vessel, in shells; D50 and D90 hold "
    "half and nine tenths of the signal outside vessels, and over the 1/e length the profile falls to 1/e; it has none "
    "where it does not fall that far within its distances, or not exponentially.",
    "core, periphery": "Tissue further and nearer than 200 µm from the tissue's edge.",
    "vessel density": "Connected parts of the vessel mask with their centre in the tissue per mm² of it, those that "
    "the border cuts included: there is no correction for edges.",
}
