"""``python -m realtime`` is the console script ``realtime``."""

import sys

if __name__ == "__main__":
    try:
        # Imported here: Ctrl-C during the imports, which take half a second, is no error either.
        from realtime.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
