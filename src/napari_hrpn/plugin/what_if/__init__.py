"""Dock widget *What if*: an open slide without one vessel, or with one more."""
