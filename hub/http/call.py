"""One authorized call: send, and on 401 renew the credentials once and send the same bytes again."""

from __future__ import annotations

from collections.abc import Mapping

from hub.http.auth import Authorizer
from hub.http.session import HttpSession, Overflow, Response


async def send_authorized(
    session: HttpSession,
    authorizer: Authorizer,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    read_at_most: int,
    compressed_at_most: int | None = None,
    overflow: Overflow = "truncate",
    body_for_errors_only: bool = False,
) -> Response:
    """Send a request with credentials; the second try after a renewal costs no attempt of ours.

    Limits and ``body_for_errors_only`` are those of ``HttpSession.request``. The answer to the second try is given as it is, also when it is 401 again, so that no loop is possible.

    Raises:
        TransientError: no answer, or no token to be had.
        PartnerContractBroken: see ``HttpSession.request``.
    """

    async def send(credentials: Mapping[str, str]) -> Response:
        return await session.request(
            method,
            url,
            headers={**headers, **credentials},
            body=body,
            read_at_most=read_at_most,
            compressed_at_most=compressed_at_most,
            overflow=overflow,
            body_for_errors_only=body_for_errors_only,
        )

    credentials = await authorizer.headers()
    response = await send(credentials)
    if response.status != 401 or not await authorizer.renew(credentials):
        return response
    return await send(await authorizer.headers())
