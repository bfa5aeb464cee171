"""Parts of the efficiency page."""
