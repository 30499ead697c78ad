"""Patches of the training slides: cutting, cache, sampling, intensity scaling and batches."""
