#include "cli/user_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/memory.h"

char *user_path(const char *variable, const char *fallback, const char *file)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    bool is_set = base && base[0] == '/';
    if (!is_set && (!home || home[0] != '/'))
        return NULL;
    if (!is_set)
        base = home;
    size_t size = strlen(base) + strlen(fallback) + strlen(file) + sizeof "//argon/";
    char *path = mem_alloc(size);
    snprintf(path, size, "%s%s%s/argon/%s", base, is_set ? "" : "/", is_set ? "" : fallback, file);
    return path;
}

bool user_path_make_folders(const char *path, struct error *err)
{
    char *folder = mem_strdup(path);
    bool ok = true;
    for (char *slash = strchr(folder + 1, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST)
            ok = error_set_errno(err, error_code_of_file(errno), errno, "cannot make the folder '%s'", folder);
        *slash = '/';
    }
    free(folder);
    return ok;
}
