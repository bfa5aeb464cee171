"""Benchmarks users run on their own machine; nothing imports them."""
