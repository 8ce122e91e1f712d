/* A YAML file as a tree: texts, mappings and lists, each with its line. What people write into configuration, and no more:
 * one document, keys that are texts, no key twice, no anchors, aliases or tags.
 *
 * Ownership  everything lives in the arena.
 * Errors     INVALID_ARGUMENT "file:line: what is wrong"; NOT_FOUND, PERMISSION_DENIED: the file cannot be opened.
 */
#ifndef ARGON_YAML_YAML_FILE_H
#define ARGON_YAML_YAML_FILE_H

#include "common/base/arena.h"
#include "common/base/error.h"

enum yaml_value_kind { YAML_VALUE_TEXT, YAML_VALUE_MAPPING, YAML_VALUE_LIST };

struct yaml_value {
    enum yaml_value_kind kind;
    unsigned line;
    const char *key;          /* of what stands in a mapping */
    const char *text;         /* as written, without quotes; of a text only */
    struct yaml_value *items; /* of a mapping or a list */
    size_t n_items;
};

/* An empty file is an empty mapping. */
CHECKED bool yaml_file_load(const char *path, struct arena *arena, struct yaml_value *root, struct error *err);

/* The value under a key of a mapping; NULL when there is none. */
const struct yaml_value *yaml_value_find(const struct yaml_value *mapping, const char *key);

#endif
