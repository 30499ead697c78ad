"""Patches of the slides that are trained on: cut, kept, chosen, scaled and put together to batches."""
