"""The report of a slide and its predictions, written from the widgets that compare them."""
