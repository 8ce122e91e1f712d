/* What the user does not want to repeat: endpoint, project, branch, actor, output. One file of his,
 * $XDG_CONFIG_HOME/argon/config or ~/.config/argon/config, mode 0600, one "key = value" a line, '#' before comments.
 *
 * Errors     INVALID_ARGUMENT with the line of what is wrong; FAILED_PRECONDITION when no place for it is known.
 */
#ifndef ARGON_CLI_CONTEXT_H
#define ARGON_CLI_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum { CONTEXT_KEYS = 5 };
/* Each is an option of the program. */
extern const char *const context_keys[CONTEXT_KEYS];

struct context {
    char *path; /* NULL: the environment names no home */
    char *values[CONTEXT_KEYS];
};

/* A file that is not there is an empty one. */
CHECKED bool context_load(struct context *context, struct error *err);
void context_destroy(struct context *context); /* fine on {0} */

/* NULL when it is not set, or no key. */
const char *context_get(const struct context *context, const char *key);
/* A value of NULL takes it away. INVALID_ARGUMENT: no such key, or a value that it cannot have. */
CHECKED bool context_set(struct context *context, const char *key, const char *value, struct error *err);
/* Written whole or not at all. Comments are lost. */
CHECKED bool context_store(const struct context *context, struct error *err);

#endif
