"""``python -m realtime`` runs the console script ``realtime``."""

import sys

from realtime.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
