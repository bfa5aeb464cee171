"""Parts of the reproduction page."""
