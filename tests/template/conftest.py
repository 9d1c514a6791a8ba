import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from checks import ROOT, Stack
from model import read


@pytest.fixture(scope="session")
def document():
    return read(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def stack(document):
    return Stack(document)
