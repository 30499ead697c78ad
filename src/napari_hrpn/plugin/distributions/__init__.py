"""The dock widget "Distributions": histogram, Q-Q and violins of real and predicted slides."""
