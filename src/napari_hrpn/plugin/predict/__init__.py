"""The widget "Predict QD": `widget` is where to begin."""
