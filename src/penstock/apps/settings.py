# SPDX-License-Identifier: Apache-2.0
"""Names in a drop's JSON that are never arguments of a user's function or command."""

__all__ = ["APP_SETTINGS", "GRAPH_KEYS"]

APP_SETTINGS = frozenset(
    {
        "appclass",
        "argumentPrefix",
        "base_name",
        "block_skip",
        "command",
        "command_line_arguments",
        "dropclass",
        "execution_time",
        "func",
        "func_arg_mapping",
        "func_code",
        "func_defaults",
        "func_name",
        "group_end",
        "group_start",
        "input_error_threshold",
        "input_parser",
        "input_redirection",
        "log_level",
        "n_effective_inputs",
        "n_tries",
        "num_cpus",
        "output_parser",
        "output_redirection",
        "paramValueSeparator",
        "persist",
        "pickle",
        "streaming",
        "time_limit_s",
    }
)
"""Settings of the app itself: never passed as surplus arguments, never placeholders."""

GRAPH_KEYS = frozenset(
    {
        "app",
        "applicationArgs",
        "category",
        "categoryType",
        "children",
        "componentParams",
        "constraintParams",
        "consumers",
        "dropclass",
        "fields",
        "humanReadableKey",
        "iid",
        "inputPorts",
        "inputs",
        "island",
        "lg_key",
        "loop_ctx",
        "name",
        "node",
        "oid",
        "outputPorts",
        "outputs",
        "parent",
        "port_map",
        "ports",
        "producers",
        "rank",
        "reprodata",
        "storage",
        "streamingConsumers",
        "streamingInputs",
        "type",
        "uid",
        "weight",
    }
)
"""Keys of any drop in a graph, which say nothing about an argument of the same name."""
