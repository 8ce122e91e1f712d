/* "users,orders": names with commas between. A comma that belongs to a name has a backslash before it, as has a backslash. */
#ifndef ARGON_CLI_NAME_LIST_H
#define ARGON_CLI_NAME_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/error.h"

struct name_list {
    const char **names; /* each once */
    size_t n;           /* 0: all are meant */
};

/* The names live in the arena. INVALID_ARGUMENT: an empty name. */
CHECKED bool name_list_parse(const char *option, const char *text, struct arena *arena, struct name_list *list, struct error *err);
/* True of every name when the list is empty. */
bool name_list_has(const struct name_list *list, const char *name);

#endif
