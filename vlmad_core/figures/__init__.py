"""Figures and image overlays as pure functions: data in, a chart or an array of pixels out."""
