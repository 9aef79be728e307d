"""Average precision of whatever finds objects."""
