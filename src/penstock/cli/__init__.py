# SPDX-License-Identifier: Apache-2.0
"""The commands. `main.py` reads the command line; each group of verbs is a module that is imported when used.

    main.py      verbs and options          run.py       penstock run
    check.py     check                      progress.py  the bar of `run`
    explain.py   explain                    report.py    what is said about a run that has ended
    plan.py      plan, graph                past.py      what is known of a run from its folder
    show.py      show, logs                 terminal.py  the two streams: colours, width, closed pipes
    streams.py   the two streams kept from start to end
    source.py    graphs from files and standard input, and what is wrong with them

A verb returns the exit code: 0 good, 1 some drop failed, 2 bad graph or usage, 124 timeout, 130 interrupted.
What a command was asked for goes to standard output, everything else to standard error.
"""
