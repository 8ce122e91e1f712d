#include "cli/name_list.h"

#include <string.h>

bool name_list_has(const struct name_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return list->n == 0;
}

bool name_list_parse(const char *option, const char *text, struct arena *arena, struct name_list *list, struct error *err)
{
    size_t len = strlen(text);
    struct name_list found = { .names = arena_alloc(arena, (len + 1) * sizeof *found.names) };
    char *name = arena_alloc(arena, len + 1); /* the names, one behind the other */
    if (!found.names || !name)
        return error_out_of_memory(err);
    for (const char *at = text; len > 0 && at <= text + len; at++) {
        char *to = name;
        for (; *at && *at != ','; at++) {
            if (*at == '\\' && (at[1] == ',' || at[1] == '\\'))
                at++;
            *to++ = *at;
        }
        *to++ = '\0';
        if (!name[0])
            return error_set(err, ERROR_INVALID_ARGUMENT, "option %s: a name in '%s' is empty", option, text);
        if (found.n == 0 || !name_list_has(&found, name))
            found.names[found.n++] = name;
        name = to;
    }
    *list = found;
    return true;
}
