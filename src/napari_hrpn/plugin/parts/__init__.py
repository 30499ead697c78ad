"""Parts that several dock widgets share: forms, plots, tables, progress, saving."""
