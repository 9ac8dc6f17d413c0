# SPDX-License-Identifier: Apache-2.0
"""`python -m penstock` is `penstock`."""

import sys

from penstock.cli.main import main

sys.exit(main())
