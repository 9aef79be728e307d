"""The commands, a module each, and what they share in rooms below; ``python -m pipeline`` lists the commands."""
