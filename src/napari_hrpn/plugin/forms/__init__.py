"""Parts that forms are made of, for every widget; they know no slide and no network."""
