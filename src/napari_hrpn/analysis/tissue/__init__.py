"""Tissue, vessels and the probe around them, at coarse levels or in strips and tiles of a slide."""
