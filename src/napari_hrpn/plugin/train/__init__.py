"""Dock widget "Train HRPN"."""
