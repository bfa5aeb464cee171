"""From a plan to units of work to results."""
