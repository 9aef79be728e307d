"""The data doctor: what a data set has that lowers accuracy, or makes it look better than it is; each with pictures."""
