# SPDX-License-Identifier: Apache-2.0
"""The names that graphs of the ecosystem use, and what they mean here: "module:Class".

Both the homes of today (`dlg.data.drops.memory.InMemoryDROP`) and older ones are listed; `dfms.` stands for
`dlg.` in the oldest graphs.
"""

__all__ = ["ALIASES", "STORAGES"]

_DATA = {
    "InMemoryDROP": ("memory:MemoryDrop", "memory"),
    "PythonObjectDROP": ("memory:MemoryDrop", "memory"),
    "SharedMemoryDROP": ("shared_memory:SharedMemoryDrop", "memory"),
    "FileDROP": ("file:FileDrop", "file"),
    "DirectoryDROP": ("directory:DirectoryDrop", "directory"),
    "DirectoryContainer": ("directory:DirectoryDrop", "directory"),
    "ContainerDROP": ("container:ContainerDrop", "container"),
    "NullDROP": ("null:NullDrop", "data_base"),
    "EndDROP": ("null:EndDrop", "data_base"),
    "JsonDROP": ("json:JsonDrop", "json_drop"),
    "ParameterSetDROP": ("parameters:ParameterSetDrop", "parset_drop"),
}
ALIASES: dict[str, str] = {}
STORAGES = {
    "memory": "penstock.drops.memory:MemoryDrop",
    "sharedmemory": "penstock.drops.shared_memory:SharedMemoryDrop",
    "file": "penstock.drops.file:FileDrop",
    "directory": "penstock.drops.directory:DirectoryDrop",
    "null": "penstock.drops.null:NullDrop",
    "json": "penstock.drops.json:JsonDrop",
    "parameterset": "penstock.drops.parameters:ParameterSetDrop",
    "container": "penstock.drops.container:ContainerDrop",
}
for _name, (_target, _home) in _DATA.items():
    for _prefix in (f"dlg.data.drops.{_home}", "dlg.data.drops", "dlg.drop"):
        ALIASES[f"{_prefix}.{_name}"] = f"penstock.drops.{_target}"
