"""What is answered where there is no answer: a code and the request's id, in the form of each protocol."""

import json
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from tlcli.errors import ResourceError, TlcliError
from tlcli.images.decode import BadImageError
from tlcli.serving.limits import RefusalError
from tlcli.serving.metrics import Metrics

ID = "tlcli.id"
"""Of a request's scope: its id, which the log and a refusal have in common."""
KINDS = (RefusalError, TlcliError, BadImageError, HTTPException, Exception)
"""Of errors that have an answer: all."""
_TEXTS = ("/v1/", "/v2")
"""Paths of protocols whose errors are a text."""


class Refusals:
    """Makes answers of errors, counts them, and logs those that are the server's own."""

    def __init__(self, metrics: Metrics, log: Callable[[str], None]) -> None:
        """Takes what counts them, and what receives a line for each failure of the server itself."""
        self._metrics, self._log = metrics, log

    def response(self, scope: MutableMapping[str, Any], error: Exception) -> Response:
        """The answer to a request that an error ended."""
        refusal, request = self._refusal_of(error, scope[ID]), scope[ID]
        self._metrics.refusal(refusal.code)
        found: object = {"code": refusal.code, "id": request}
        if scope["path"].startswith(_TEXTS):
            found = f"{refusal.code} ({request})"
        headers = {}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        if refusal.allow:
            headers["allow"] = refusal.allow
        if refusal.status == 401:
            headers["www-authenticate"] = "Bearer"
        body = json.dumps({"error": found}) + "\n"
        return Response(body, status_code=refusal.status, headers=headers, media_type="application/json")

    def _refusal_of(self, error: Exception, request: str) -> RefusalError:
        if isinstance(error, RefusalError):
            return error
        if isinstance(error, ResourceError):  # of this machine: a full disk
            self._log(f"Request {request} failed [{error.code}]: {error}")
            return RefusalError(error.code, 507)
        if isinstance(error, (TlcliError, BadImageError)):
            return RefusalError(error.code, 422)
        if isinstance(error, HTTPException):
            code = "serve.method_not_allowed" if error.status_code == 405 else "serve.not_found"
            return RefusalError(code, error.status_code, allow=(error.headers or {}).get("Allow", ""))
        self._log(f"Request {request} failed: {type(error).__name__}: {error}")
        return RefusalError("serve.internal", 500)
