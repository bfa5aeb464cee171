"""Judging single images with several methods at once: behind the live demo, ``predict`` and ``vlmad_core.predict``."""
