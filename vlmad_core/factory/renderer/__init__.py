"""Procedural inspection images: the pairs the bundled CLIP is trained on, and the bundled data sets."""
