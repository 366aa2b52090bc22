"""A month of believable usage of two invented organizations, for a first look around."""
