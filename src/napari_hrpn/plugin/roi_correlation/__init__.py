"""The dock widget "ROI correlation": real against predicted pixels in regions that are drawn, while they are drawn."""
