# SPDX-License-Identifier: Apache-2.0
"""What only some managers offer, asked for by routes of the old interface. A manager without it answers 501."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from penstock.managers.api import SessionInfo

__all__ = ["CompositeExtras", "NodeExtras", "PastSessions", "Relation"]

Relation = tuple[str, int, str]
"""(left uid, number of a `LinkKind`, right uid): left is a kind of right; one of them lives elsewhere."""


@runtime_checkable
class NodeExtras(Protocol):
    """A node that other managers wire up through the old interface."""

    def subscribe(self, session_id: str, relations: Mapping[str, Sequence[Relation]]) -> None:
        """Note which drops of which peers drops of a session are linked to; before it is deployed.

        Raises:
            SessionNotFound: nothing is known under this id.
            WrongState: the session is deployed.
        """


@runtime_checkable
class CompositeExtras(Protocol):
    """A manager of managers whose members may change."""

    def add_node(self, address: str) -> None:
        """Take a member in; one that is in already is left as it is."""

    def remove_node(self, address: str) -> None:
        """Let a member go.

        Raises:
            NodeUnknown: it is none.
        """

    def islands(self) -> list[str]:
        """Return the addresses of the islands right below, none at an island."""
        ...  # pyright wants to see that nothing is meant to be here

    def sub_sessions(self, address: str) -> list[SessionInfo]:
        """Return the sessions of one node as they are there.

        Raises:
            NodeUnknown: it is none of ours.
        """
        ...  # pyright wants to see that nothing is meant to be here


@runtime_checkable
class PastSessions(Protocol):
    """A manager that keeps folders of sessions that are gone."""

    def past_sessions(self) -> list[str]:
        """Return the ids of sessions of which only a folder is left."""
        ...  # pyright wants to see that nothing is meant to be here
