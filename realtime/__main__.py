"""``python -m realtime`` is the console script ``realtime``."""

import gc
import sys

if __name__ == "__main__":
    try:
        # Imported here: Ctrl-C during the imports, which take half a second, is no error either.
        # The collector finds no garbage among imports, and looking for it is a tenth of their time.
        gc.disable()
        from realtime.cli.main import main

        gc.enable()
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
