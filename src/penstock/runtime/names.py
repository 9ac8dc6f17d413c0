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
    "EnvironmentVarDROP": ("parameters:EnvironmentVarDrop", "environmentvar_drop"),
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
    "environmentvars": "penstock.drops.parameters:EnvironmentVarDrop",
}
for _name, (_target, _home) in _DATA.items():
    for _prefix in (f"dlg.data.drops.{_home}", f"dlg.{_home}", "dlg.data.drops", "dlg.drop"):
        ALIASES[f"{_prefix}.{_name}"] = f"penstock.drops.{_target}"

# Home in the ecosystem -> module here -> class names, "Old=New" where they differ.
_APPS = {
    "simple": {
        "basic": "CopyApp SleepApp SleepAndCopyApp NullBarrierApp HelloWorldApp ListAppendThrashingApp",
        "retrieve": "UrlRetrieveApp",
        "arrays": "RandomArrayApp AverageArraysApp ArrayGatherApp GenericNpyGatherApp GenericNpyScatterApp",
        "flow": "SimpleBranch Branch GenericScatterApp GenericGatherApp DictGatherApp PickOne",
    },
    "pyfunc": {"python": "PyFuncApp PyMemberApp=PyFuncApp"},
    "bash_shell_app": {
        "shell": "BashShellApp",
        "streaming": "StreamingOutputBashApp StreamingInputBashApp StreamingInputOutputBashApp",
    },
    "crc": {"basic": "CRCApp=CrcApp CRCStreamApp=CrcStreamApp"},
    "branch": {"flow": "BranchAppDrop=BranchApp"},
}
for _home, _modules in _APPS.items():
    for _module, _names in _modules.items():
        for _pair in _names.split():
            _old, _, _new = _pair.partition("=")
            for _prefix in (f"dlg.apps.{_home}", "dlg.apps"):
                ALIASES[f"{_prefix}.{_old}"] = f"penstock.apps.{_module}:{_new or _old}"

# The bare bases: an app that does nothing but pass on that its inputs have ended.
_BASES = "app_base.BarrierAppDROP app_base.InputFiredAppDROP app_base.AppDROP simple.DALiuGEApp"
for _name in (*(f"dlg.apps.{_base}" for _base in _BASES.split()), "dlg.drop.BarrierAppDROP"):
    ALIASES[_name] = "penstock.apps.basic:NullBarrierApp"
