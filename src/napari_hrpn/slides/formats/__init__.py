"""Formats of slides: each reader turns a file into a slide, or refuses it in one sentence."""
