# SPDX-License-Identifier: Apache-2.0
"""The commands. `main.py` reads the command line; each group of verbs is a module that is imported when used.

    main.py      from words to a verb       run.py       penstock run
    options.py   verbs and options          progress.py  the bar of `run` and `submit`
    exits.py     exit codes                 report.py    what is said about a run that has ended
    check.py     check                      past.py      what is known of a run from its folder
    explain.py   explain                    printed.py   what drops printed
    plan.py      plan, graph                terminal.py  the two streams: colours, width, closed pipes
    show.py      show, logs                 streams.py   the two streams kept from start to end
    serve.py     node, island, master       contact.py   the manager that a command speaks with
    submit.py    submit                     account.py   what a manager knows of a session
    remote.py    ls, status, nodes, cancel, rm; show and logs with --url
    placing.py   map                        keys.py      keys new
    source.py    graphs from files and standard input, and what is wrong with them

A verb returns the exit code: 0 good, 1 some drop failed, 2 bad graph or usage, 3 no manager answers or it refuses,
124 timeout, 130 interrupted. What a command was asked for goes to standard output, all else to standard error.
"""
