#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes, under a given folder, the virtual environments with the ecosystem's own programs that the tests of this
# folder use. Usage: ecosystem.sh FOLDER; then
#   PENSTOCK_DLG_PYTHON=FOLDER/client/bin/python PENSTOCK_DLG=FOLDER/programs/bin/dlg pytest tests/compat
set -eu

folder=${1:?usage: ecosystem.sh FOLDER}
python=${PYTHON:-python3}

mkdir -p "$folder"
# Trees of their own keep their pinned libraries away from ours.
if ! [ -x "$folder/client/bin/dlg" ]; then
    "$python" -m venv "$folder/client"
    "$folder/client/bin/python" -m pip install --quiet daliuge-common==6.6.0 daliuge-translator==6.6.0
fi
# `dlg submit` is part of the engine, and the web translator wants the FastAPI of its time.
if ! [ -x "$folder/programs/bin/dlg" ]; then
    "$python" -m venv "$folder/programs"
    "$folder/programs/bin/python" -m pip install --quiet daliuge-common==6.6.0 daliuge-translator==6.6.0 \
        daliuge-engine==6.6.0 fastapi==0.110.3
fi
echo "$folder/client/bin/python" "$folder/programs/bin/dlg"
