"""What widgets that measure slides are made of: progress, plots, tables, marks in the viewer; no arithmetic."""
