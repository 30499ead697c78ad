"""Tissue mask, vessels, cells and penetration of the probe, in strips and tiles of a slide."""
