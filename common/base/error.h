/* The one error type of the code base.
 *
 * A function that can fail takes a `struct error *` last and returns false after filling it in; outputs
 * are written only on success. Libraries return errors and never log them.
 */
#ifndef ARGON_BASE_ERROR_H
#define ARGON_BASE_ERROR_H

#include <stdbool.h>

#define CHECKED           __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/* Numerically equal to gRPC's status codes; asserted where both are seen (common/rpc). */
enum error_code {
    ERROR_OK = 0,
    ERROR_CANCELLED = 1,
    ERROR_UNKNOWN = 2,
    ERROR_INVALID_ARGUMENT = 3,
    ERROR_DEADLINE_EXCEEDED = 4,
    ERROR_NOT_FOUND = 5,
    ERROR_ALREADY_EXISTS = 6,
    ERROR_PERMISSION_DENIED = 7,
    ERROR_RESOURCE_EXHAUSTED = 8,
    ERROR_FAILED_PRECONDITION = 9,
    ERROR_ABORTED = 10,
    ERROR_OUT_OF_RANGE = 11,
    ERROR_UNIMPLEMENTED = 12,
    ERROR_INTERNAL = 13,
    ERROR_UNAVAILABLE = 14,
    ERROR_DATA_LOSS = 15,
    ERROR_UNAUTHENTICATED = 16,
};

/* What a failed write did. UNKNOWN unless somebody who knows says otherwise. */
enum error_outcome {
    OUTCOME_UNKNOWN = 0,
    OUTCOME_NOT_APPLIED = 1,
};

struct error {
    enum error_code code;
    enum error_outcome outcome;
    const char *reason; /* for programs, a static string: "WRITE_CONFLICT"; NULL: the code says it all */
    int mongo_code;     /* MongoDB's number for it, for programs that know those; 0: none */
    char message[256];
    char keys[256]; /* for programs: the conflicting keys, '\n' between; "" when there are none */
};

/* error_set(err, code, format, ...) fills in err (NULL is fine), outcome unknown, no reason, number or keys.
 * error_set_errno(err, code, errnum, format, ...) does the same, with ": strerror(errnum)" behind the message.
 * error_wrap(err, format, ...) puts "context: " before the message.
 * All are false: `return error_set(...)`. They are macros so that the compiler sees that, too. */
#define error_set(err, ...)       (error_fill((err), __VA_ARGS__), error_false())
#define error_set_errno(err, ...) (error_fill_errno((err), __VA_ARGS__), error_false())
#define error_out_of_memory(err)  (error_fill_out_of_memory(err), error_false())
#define error_wrap(err, ...)      (error_prefix((err), __VA_ARGS__), error_false())

void error_fill(struct error *err, enum error_code code, const char *format, ...) PRINTF_LIKE(3, 4);
void error_fill_errno(struct error *err, enum error_code code, int errnum, const char *format, ...) PRINTF_LIKE(4, 5);
void error_fill_out_of_memory(struct error *err); /* in meter.c: it may be what the meter said */
void error_prefix(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* What programs go by, beside the code. Fine with NULL; the key is left out whole when there is no room. */
void error_set_reason(struct error *err, const char *reason);
void error_add_key(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

__attribute__((always_inline)) static inline bool error_false(void)
{
    return false;
}

/* What it means that a file of the user's cannot be opened, read or written. */
enum error_code error_code_of_file(int errnum);

/* "NOT_FOUND" and so on; never NULL. */
const char *error_code_name(enum error_code code);

#endif
