"""The widget "Train HRPN": `widget` is where to begin."""
