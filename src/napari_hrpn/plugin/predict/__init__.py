"""Dock widget "Predict QD"."""
