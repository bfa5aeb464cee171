"""``python -m vlmad_core``."""

from __future__ import annotations

import sys

from vlmad_core.cli import main

sys.exit(main())
