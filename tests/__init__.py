"""The tests.  Their processes share their bytecode, whatever the environment says.

Compiling all that a server imports takes 1.6 s of CPU, and the tests start hundreds of them; pytest
compiles each test module as well.  The files are outside of the source folders.
"""

import os
import sys
from pathlib import Path

# Nothing is compiled yet, in a new checkout.
IS_NEW = False
# In this module, since it is imported before all that would be compiled.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    _FOLDER = str(Path(__file__).parent.parent / ".pytest_cache" / "bytecode")
    IS_NEW = not Path(_FOLDER).exists()
    sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", _FOLDER)
    sys.dont_write_bytecode = False
