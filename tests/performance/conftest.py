"""Programs beside the test, which are started and not imported."""

collect_ignore = ["load.py", "clients.py"]
