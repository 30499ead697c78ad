"""Quality of a slide's imaging for prediction and training."""
