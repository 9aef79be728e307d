"""A network as integers times shifts: trained so, read back, made ready to convert."""
