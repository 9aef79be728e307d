"""Runs on the disk: what a stage leaves, and how the next one, or the same one killed, finds it."""
