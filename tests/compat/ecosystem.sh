#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes, under a given folder, the virtual environments with the ecosystem's own programs that the tests of this
# folder use. Usage: ecosystem.sh FOLDER; then PENSTOCK_DLG_PYTHON=FOLDER/client/bin/python pytest tests/compat
set -eu

folder=${1:?usage: ecosystem.sh FOLDER}
python=${PYTHON:-python3}

mkdir -p "$folder"
# Clients and translator live together; a tree of their own keeps their pinned libraries away from ours.
if ! [ -x "$folder/client/bin/dlg" ]; then
    "$python" -m venv "$folder/client"
    "$folder/client/bin/python" -m pip install --quiet daliuge-common==6.6.0 daliuge-translator==6.6.0
fi
echo "$folder/client/bin/python"
