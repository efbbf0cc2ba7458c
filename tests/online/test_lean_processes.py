"""What only learning and explaining need is not loaded by processes that serve: it costs seconds at start and a hundred megabytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.learning.conftest import Made, made

pytestmark = pytest.mark.process

__all__ = ["made"]


def test_scoring_and_both_services_need_neither_scikit_learn_nor_pandas_nor_shap_nor_spark(
    made: Made, tmp_path: Path
) -> None:
    file = tmp_path / "model"
    file.write_bytes(made.data)
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "import online.http.app, rex.model_service.app\n"
        "from online.rankers.models.model_file import decode\n"
        f"model = decode(Path({str(file)!r}).read_bytes(), {made.name!r})\n"
        f"print(repr(float(model.value(np.zeros((1, {len(made.loaded.inputs)}), np.float32))[0])))\n"
        "print([m for m in ('sklearn', 'pandas', 'shap', 'pyspark', 'matplotlib') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    value, loaded = ran.stdout.splitlines()
    assert float(value) == float(made.loaded.value(made.examples.x[:1] * 0)[0])
    assert loaded == "[]"
