"""Dock widget "Distributions": histogram, Q-Q plot and violin plots of real and predicted slides."""
