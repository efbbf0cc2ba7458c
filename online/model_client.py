"""Scores with the model service, within a time limit."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late

import httpx

from features.errors import BadInput, Unavailable
from learning.outcomes import Doubles
from learning.wire import MEDIA_TYPE, MODEL_HEADER, pack, unpack_probabilities
from online.columns import Floats

_IDLE_S = 30.0
"""Connections are dropped here before the service drops them (after 75 s), so that none breaks while in use."""
_AT_ONCE = 8
"""Exchanges side by side: more than rankings run at once, so that one that is late does not make the next one late."""


class ModelService:
    """One model of one service. Connections are kept alive; may be used by several threads. Close it when done."""

    def __init__(self, url: str, model: str, timeout_ms: float) -> None:
        """`model`: its SHA-256, so that no other model can answer."""
        self._model = model
        self._timeout_s = timeout_ms / 1000
        self._client = httpx.Client(
            base_url=url,
            # Bounds each wait of an exchange, so that one that nobody waits for any more ends too.
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=_AT_ONCE, keepalive_expiry=_IDLE_S),
            trust_env=False,
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, "model-service")

    def probabilities(self, columns: Mapping[str, Floats], n: int) -> Mapping[str, Doubles]:
        """See Scorer. Unavailable when there is no right answer within the time limit, whatever the service does."""
        try:
            return self._threads.submit(self._ask, columns, n).result(self._timeout_s)
        except (Late, httpx.TimeoutException) as error:
            raise Unavailable(f"the model service did not answer within {self._timeout_s * 1000:.0f} ms") from error
        except (httpx.HTTPError, BadInput) as error:
            raise Unavailable(f"the model service at {self._client.base_url} failed: {error}") from error

    def _ask(self, columns: Mapping[str, Floats], n: int) -> Mapping[str, Doubles]:
        answer = self._client.post(
            f"/v1/models/{self._model}/score", content=pack(columns), headers={"Content-Type": MEDIA_TYPE}
        )
        if answer.status_code != httpx.codes.OK:
            raise BadInput(f"it answered {answer.status_code}: {answer.text[:500]}")
        if not answer.headers.get(MODEL_HEADER, "").startswith(self._model):
            raise BadInput(f"it scored with model {answer.headers.get(MODEL_HEADER)} instead of {self._model}")
        return unpack_probabilities(answer.content, n)

    def close(self) -> None:
        """Waits for nothing; exchanges under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()
