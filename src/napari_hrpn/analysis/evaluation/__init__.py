"""Evaluation of a slide and its predictions, in one scan of all of them."""
