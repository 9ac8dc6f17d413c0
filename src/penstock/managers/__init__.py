# SPDX-License-Identifier: Apache-2.0
"""Managers: sessions on one node, and on managers of managers.

`api.py` has the one interface that all of them meet. No manager imports users' code or unpickles.
"""
