"""What predicting looks at and leaves: pictures, videos and cameras by name, tracks, and results in several forms."""
