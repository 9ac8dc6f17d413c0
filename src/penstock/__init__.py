# SPDX-License-Identifier: Apache-2.0
"""Penstock: graphs of drops that run themselves when data arrives."""

__version__ = "0.1.0"
