"""Holding our methods against reference outputs of their authors' code, number by number."""
