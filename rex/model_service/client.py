"""Scores with the model service, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass

import httpx

from features.arrays import F32, F64
from features.errors import BadInput, Unavailable
from rex.local.http import http_client
from rex.model_service.wire import MEDIA_TYPE, MODEL_HEADER, pack, unpack_probabilities

_IDLE_S = 30.0
"""Connections are dropped here before the service drops them (after 75 s), so that none breaks while in use."""
_AT_ONCE = 8
"""Exchanges side by side: more than rankings run at once, so that one that is late does not make the next one late."""


class ModelService:
    """One service. Connections are kept alive; may be used by several threads. Close it when done."""

    def __init__(self, url: str, timeout_ms: float) -> None:
        self._timeout_s = timeout_ms / 1000
        self._client = http_client(
            url,
            timeout=self._timeout_s,  # of each wait of an exchange, so that one that nobody waits for any more ends too
            limits=httpx.Limits(max_connections=_AT_ONCE, keepalive_expiry=_IDLE_S),
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, "model-service")

    def of(self, model: str) -> RemoteModel:
        """The model called `model` (its SHA-256, or the beginning that is its name in Redis), wherever it is hosted."""
        return RemoteModel(self, model)

    def probabilities(self, model: str, columns: Mapping[str, F32], n: int) -> Mapping[str, F64]:
        """Outcome → float64[n]. Unavailable when there is no right answer within the limit, whatever the service does."""
        asked = self._threads.submit(self._ask, model, columns, n)
        try:
            return asked.result(self._timeout_s)
        except (Late, httpx.TimeoutException) as error:
            asked.cancel()
            raise Unavailable(f"the model service did not answer within {self._timeout_s * 1000:.0f} ms") from error
        except (httpx.HTTPError, BadInput) as error:
            raise Unavailable(f"the model service at {self._client.base_url} failed: {error}") from error

    def _ask(self, model: str, columns: Mapping[str, F32], n: int) -> Mapping[str, F64]:
        until = time.monotonic() + self._timeout_s
        path, headers = f"/v1/models/{model}/score", {"Content-Type": MEDIA_TYPE}
        with self._client.stream("POST", path, content=pack(columns), headers=headers) as answer:
            body = bytearray()
            for chunk in answer.iter_raw():
                body += chunk
                if time.monotonic() > until:  # nobody waits any more
                    raise httpx.ReadTimeout("the answer came too slowly")
        if answer.status_code != httpx.codes.OK:
            raise BadInput(f"it answered {answer.status_code}: {body[:500].decode(errors='replace')}")
        if not answer.headers.get(MODEL_HEADER, "").startswith(model):
            raise BadInput(f"it scored with model {answer.headers.get(MODEL_HEADER)} instead of {model}")
        return unpack_probabilities(bytes(body), n)

    def close(self) -> None:
        """Waits for nothing; exchanges under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """One model of the service, as a `Scorer`. Named by its hash, so that no other model can answer."""

    service: ModelService
    model: str

    def probabilities(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F64]:
        """See Scorer."""
        return self.service.probabilities(self.model, columns, n)
