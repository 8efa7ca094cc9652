import os
from pathlib import Path

import pytest
from django.conf import settings


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The directory of recorded market data."""
    directory = Path(os.environ.get("MARKET_DATA_DIR", settings.BASE_DIR.parent / "shared" / "data"))
    if not directory.is_dir():
        pytest.skip(f"no recorded market data in {directory}: set MARKET_DATA_DIR")
    return directory
