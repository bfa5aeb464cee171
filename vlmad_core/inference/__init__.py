"""Where models run: a loaded backbone that many share, and the process of its own that holds it for the dashboard.

A page never computes with a model. It asks the process, which answers with plain arrays, so that who reads stored
results waits for nobody's image: neither for the lock of Python's threads nor for torch's.
"""
