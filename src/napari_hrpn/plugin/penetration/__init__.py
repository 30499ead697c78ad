"""The dock widget "Penetration": how far a probe got from the vessels."""
