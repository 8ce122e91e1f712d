#include "branch-service/catalog/names.h"

#include <bson/bson.h>
#include <string.h>

#include "branch-service/catalog/catalog.h"
#include "common/base/limits.h"

static bool check_length(const char *what, const char *name, struct error *err)
{
    size_t len = strlen(name);
    if (len == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s name is empty", what);
    if (len > MAX_NAME_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s name '%.40s...' has %zu bytes; at most %d are allowed", what, name, len,
                         MAX_NAME_BYTES);
    if (!bson_utf8_validate(name, len, false))
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s name is not valid UTF-8", what);
    return true;
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_check(const char *what, const char *name, struct error *err)
{
    if (!check_length(what, name, err))
        return false;
    if (name[0] == '_')
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s name '%s' is reserved: it begins with '_'", what, name);
    if (!is_alphanumeric(name[0]))
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s name '%s' does not begin with a letter or a digit", what, name);
    for (const char *c = name; *c; c++)
        if (!is_alphanumeric(*c) && !strchr("._-/", *c))
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s name '%s' may hold letters, digits and . _ - / only", what, name);
    return true;
}

bool name_check_collection(const char *name, struct error *err)
{
    if (!check_length("collection", name, err))
        return false;
    if (strchr(name, '$'))
        return error_set(err, ERROR_INVALID_ARGUMENT, "collection name '%s' contains '$'", name);
    if (strncmp(name, "system.", 7) == 0 || name[0] == '.')
        return error_set(err, ERROR_INVALID_ARGUMENT, "collection name '%s' is reserved", name);
    if (strcmp(name, COLLECTIONS_COLLECTION) == 0 || strcmp(name, REQUESTS_COLLECTION) == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "collection name '%s' is reserved", name);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return error_set(err, ERROR_INVALID_ARGUMENT, "collection name contains a control character");
    return true;
}
