# SPDX-License-Identifier: Apache-2.0
"""What shall run: graphs as values. Nothing in here touches the world.

Read `spec.py` (the values), `load.py` (text to values), `analyse.py` (values to problems and order).
"""
