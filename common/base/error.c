#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void error_fill(struct error *err, enum error_code code, const char *format, ...)
{
    if (!err)
        return;
    va_list args;
    va_start(args, format);
    err->code = code;
    err->outcome = OUTCOME_UNKNOWN;
    err->reason = NULL;
    err->mongo_code = 0;
    err->keys[0] = '\0';
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
}

void error_fill_errno(struct error *err, enum error_code code, int errnum, const char *format, ...)
{
    if (!err)
        return;
    va_list args;
    va_start(args, format);
    err->code = code;
    err->outcome = OUTCOME_UNKNOWN;
    err->reason = NULL;
    err->mongo_code = 0;
    err->keys[0] = '\0';
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->message) {
        char reason[128];
        /* the GNU strerror_r: the result may or may not lie in the buffer */
        const char *text = strerror_r(errnum, reason, sizeof reason);
        snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", text);
    }
}

void error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return;
    char context[sizeof err->message];
    char inner[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    memcpy(inner, err->message, sizeof inner);
    size_t used = strnlen(context, sizeof context - 1);
    memcpy(err->message, context, used);
    snprintf(err->message + used, sizeof err->message - used, ": %s", inner);
}

void error_set_reason(struct error *err, const char *reason)
{
    if (err)
        err->reason = reason;
}

void error_add_key(struct error *err, const char *format, ...)
{
    if (!err)
        return;
    size_t used = strnlen(err->keys, sizeof err->keys);
    size_t start = used ? used + 1 : 0;
    if (start >= sizeof err->keys)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->keys + start, sizeof err->keys - start, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof err->keys - start)
        err->keys[used] = '\0';
    else if (used)
        err->keys[used] = '\n';
}

enum error_code error_code_of_file(int errnum)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        return ERROR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERROR_PERMISSION_DENIED;
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return ERROR_INVALID_ARGUMENT;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERROR_RESOURCE_EXHAUSTED;
    default:
        return ERROR_INTERNAL;
    }
}

const char *error_code_name(enum error_code code)
{
    static const char *const names[] = {
        "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED",
    };
    return (unsigned)code < ARRAY_LEN(names) ? names[code] : "UNKNOWN";
}
