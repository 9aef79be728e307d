"""The forms in which people have labelled images: what they are recognised by, and a reader for each."""
