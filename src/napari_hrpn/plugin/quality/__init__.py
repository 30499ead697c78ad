"""What in a slide's imaging may spoil a prediction, as the widgets show it: `quality_look` is where to begin."""
