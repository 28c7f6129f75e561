# What a developer types. `make` alone lists the targets.
#
# Ctrl-C: the terminal sends SIGINT to make and to the hub at once. Make waits until the hub has drained and ended with
# 130, adds a line of its own ("Error 130"), and dies by the same signal, which a shell reports as 130 (measured). Any
# other failing status of the hub, and a 130 after a SIGINT to the hub alone, is 2 in make's own terms.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Images often set it; here every command and test starts processes of its own, which would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

# Two workers fit the two cores that a private broker and its tests share; a file stays on one worker, so that the
# tests of a file may share what is slow to start.
PYTEST_ARGS ?= -q -n 2 --dist loadfile --no-loadscope-reorder

