# SPDX-License-Identifier: Apache-2.0
"""Shipped helpers for testing components without a session."""

from penstock.testing.solo import SoloSite

__all__ = ["SoloSite"]
