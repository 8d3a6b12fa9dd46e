"""The daemon runs without torch: CTranslate2 would load it wherever it is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import homeguard

PACKAGE = Path(homeguard.__file__).parent
LAB = {"training", "explain"}

IMPORT_ALL = """
import importlib, sys
sys.modules["torch"] = None  # an import of torch raises ImportError
for name in sys.argv[1:]:
    importlib.import_module(name)
assert not [name for name in sys.modules if name.split(".")[0] in {"torchaudio", "transformers"}]
"""


def runtime_modules():
    """Every module of the package but the lab's, the daemon first."""
    found = ["homeguard.daemon"]
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if LAB & set(parts) or parts[-1] == "__main__":
            continue
        found.append(".".join(part for part in parts if part != "__init__"))
    return found


def test_every_runtime_module_imports_where_torch_cannot_be():
    modules = runtime_modules()
    assert len(modules) > 20
    subprocess.run([sys.executable, "-c", IMPORT_ALL, *modules], check=True, timeout=100)


def test_no_runtime_requirement_is_torch():
    required = metadata.requires("homeguard") or []
    plain = [r for r in required if "extra ==" not in r]
    assert plain
    assert not [r for r in plain if r.startswith(("torch", "transformers", "lightning"))]
