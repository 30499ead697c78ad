"""Dock widget "Penetration": distribution of the probe by distance from the vessels."""
