#ifndef ARGON_CLI_EXIT_CODE_H
#define ARGON_CLI_EXIT_CODE_H

#include "common/base/error.h"

/* Documented in `argon --help`; scripts rely on them. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILURE = 1,
    CLI_EXIT_USAGE = 2,       /* INVALID_ARGUMENT, OUT_OF_RANGE */
    CLI_EXIT_NOT_FOUND = 3,   /* NOT_FOUND */
    CLI_EXIT_EXISTS = 4,      /* ALREADY_EXISTS */
    CLI_EXIT_CONFLICT = 5,    /* ABORTED, FAILED_PRECONDITION */
    CLI_EXIT_UNAVAILABLE = 6, /* UNAVAILABLE, DEADLINE_EXCEEDED */
    CLI_EXIT_EXHAUSTED = 7,   /* RESOURCE_EXHAUSTED */
    CLI_EXIT_DATA_LOSS = 8,   /* DATA_LOSS */
    /* as shells name the end by a signal */
    CLI_EXIT_INTERRUPTED = 130,
    CLI_EXIT_TERMINATED = 143,
};

enum cli_exit cli_exit_of(enum error_code code);

#endif
