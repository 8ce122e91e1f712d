#include "cli/exit_code.h"

enum cli_exit cli_exit_of(enum error_code code)
{
    switch (code) {
    case ERROR_OK:
        return CLI_EXIT_OK;
    case ERROR_INVALID_ARGUMENT:
    case ERROR_OUT_OF_RANGE:
    case ERROR_PERMISSION_DENIED:
    case ERROR_UNAUTHENTICATED:
        return CLI_EXIT_USAGE;
    case ERROR_NOT_FOUND:
        return CLI_EXIT_NOT_FOUND;
    case ERROR_ALREADY_EXISTS:
        return CLI_EXIT_EXISTS;
    case ERROR_ABORTED:
    case ERROR_FAILED_PRECONDITION:
        return CLI_EXIT_CONFLICT;
    case ERROR_UNAVAILABLE:
    case ERROR_DEADLINE_EXCEEDED:
        return CLI_EXIT_UNAVAILABLE;
    case ERROR_RESOURCE_EXHAUSTED:
        return CLI_EXIT_EXHAUSTED;
    case ERROR_DATA_LOSS:
        return CLI_EXIT_DATA_LOSS;
    case ERROR_CANCELLED:
    case ERROR_UNKNOWN:
    case ERROR_UNIMPLEMENTED:
    case ERROR_INTERNAL:
        break;
    }
    return CLI_EXIT_FAILURE;
}
