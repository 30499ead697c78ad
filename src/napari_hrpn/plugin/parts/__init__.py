"""Parts that several dock widgets are made of: forms, plots, tables, progress, saving."""
