"""Parts of the failures page."""
