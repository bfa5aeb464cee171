"""Results of other programs: read, checked item by item, measured like all others, committed whole or not at all."""
