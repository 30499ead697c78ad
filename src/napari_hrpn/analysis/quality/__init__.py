"""Quality of a slide's image for prediction and training."""
