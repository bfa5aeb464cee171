"""Parts of the transfer page."""
