"""Tokens of a store's service: who may ask over HTTP.

    active-indexing token archive add newsroom
    active-indexing token archive add prometheus --scope admin
    active-indexing token archive list
    active-indexing token archive revoke newsroom

A token is shown once; the store keeps its hash. A running service knows of it at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from active_indexing.cli.flags import Parser
from active_indexing.service.config import ServiceConfig
from active_indexing.service.tokens import READ, SCOPES, add_token, read_tokens, revoke_token


def add_parser(parser: Parser) -> None:
    """The store and what to do."""
    parser.add_argument("store", type=Path, help="folder of the store")
    parser.add_argument("action", choices=("add", "list", "revoke"))
    parser.add_argument("name", nargs="?", help="of the token")
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        default=READ,
        help="read asks; admin also sees paths of this machine and /metrics (default: %(default)s)",
    )
    parser.add_argument("--tokens", type=Path, help="file of tokens (default: tokens.json in the store)")


def run(arguments: argparse.Namespace) -> int:
    """Do it.

    Returns:
        0 when it was done, 1 when there is no token to revoke.

    Raises:
        ValueError: a name that is missing or taken.
        FileNotFoundError: no store there.
    """
    from active_indexing.store.contract import read_contract

    read_contract(arguments.store)
    path = ServiceConfig(tokens=arguments.tokens).tokens_path(arguments.store)
    if arguments.action == "list":
        for token in read_tokens(path):
            print(f"{token.name:<24}{token.scope:<8}{token.made_at}")
        return 0
    if arguments.name is None:
        raise ValueError(f"give the name of the token to {arguments.action}.")
    if arguments.action == "add":
        print(add_token(path, arguments.name, arguments.scope))
        print("keep it: it is not shown again.", file=sys.stderr)
        return 0
    if revoke_token(path, arguments.name):
        print(f"{arguments.name} is refused from now on.")
        return 0
    print(f"no token is called {arguments.name!r}.", file=sys.stderr)
    return 1
