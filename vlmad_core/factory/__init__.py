"""What makes the bundled data and the bundled CLIP: needed to make what ships, not to run it, and imported by nothing.

``renderer`` draws inspection images: ``python -m vlmad_core.factory.renderer.build OUT`` writes the bundled data sets.
``clip`` trains the bundled CLIP on such images: ``python -m vlmad_core train bundled``.
"""
