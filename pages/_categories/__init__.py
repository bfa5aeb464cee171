"""Parts of the page Categories."""
