"""Who asks, by the token that came along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from active_indexing.service.refusals import Refusal
from active_indexing.service.tokens import ADMIN, READ

BEARER = HTTPBearer(auto_error=False, description="a token of `active-indexing token STORE add NAME`")


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        name: of the token; empty where none is asked for.
        scope: ``read`` or ``admin``.
    """

    name: str
    scope: str


Given = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


def caller(request: Request, given: Given) -> Caller:
    """Who asks, by the token that came along.

    Raises:
        Refusal: no token where one is needed, or one that is unknown or revoked.
    """
    state = request.app.state
    challenge = {"WWW-Authenticate": "Bearer"}
    if not state.tokens.tokens() and state.config.is_local:
        return Caller("", ADMIN)
    if given is None:
        raise Refusal(401, "no_token", "send a token: Authorization: Bearer TOKEN.", challenge)
    token = state.tokens.find(given.credentials)
    if token is None:
        raise Refusal(401, "wrong_token", "the token is unknown or was revoked.", challenge)
    request.state.noted["token"] = token.name
    return Caller(token.name, token.scope)


Reader = Annotated[Caller, Depends(caller)]


def administrator(who: Reader) -> Caller:
    """Who asks, if they may see what concerns the machine.

    Raises:
        Refusal: a token of scope read.
    """
    if who.scope != ADMIN:
        raise Refusal(403, "scope", f"this needs a token of scope {ADMIN}, and yours has {READ}.")
    return who


Administrator = Annotated[Caller, Depends(administrator)]
