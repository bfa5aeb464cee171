"""What makes the bundled data and the bundled CLIP; needed to make what ships, not to run it."""
