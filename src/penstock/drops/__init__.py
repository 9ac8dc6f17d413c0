# SPDX-License-Identifier: Apache-2.0
"""Drops as objects: the payload of data, the base of apps, declared parameters, encodings.

Read `base.py` first: a drop is a view on a row of its session's table.
"""
