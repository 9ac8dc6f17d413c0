# SPDX-License-Identifier: Apache-2.0
"""Contents of drops between processes: a `DataServer` lends them, `read_data` and `RemoteData` read them.

Read `data_server.py` and `data_reader.py` for what is promised; `streams.py` is for what is read while it is written.
"""

from penstock.wire.data_reader import RemoteData, read_data
from penstock.wire.data_server import DataServer, Region, Source

__all__ = ["DataServer", "Region", "RemoteData", "Source", "read_data"]
