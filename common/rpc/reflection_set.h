/* What server reflection looks things up in: the files of an encoded FileDescriptorSet by name and by the symbols
 * that they declare.
 *
 * Ownership  the encoded set is borrowed for the life of the reflection_set, and so are the files handed out.
 * Threads    any, once it is made.
 * Errors     INVALID_ARGUMENT: not a FileDescriptorSet, or one that lacks a dependency of its files.
 */
#ifndef ARGON_RPC_REFLECTION_SET_H
#define ARGON_RPC_REFLECTION_SET_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

struct reflection_set;

CHECKED bool reflection_set_new(struct bytes encoded, struct reflection_set **set, struct error *err);
void reflection_set_free(struct reflection_set *set);          /* NULL is fine */
size_t reflection_set_count(const struct reflection_set *set); /* of files */

/* *file is an index, below the count. */
CHECKED bool reflection_set_find_file(const struct reflection_set *set, const char *name, size_t *file);
/* The file that declares a service, method, message, field, oneof, enum, enum value or extension by its full name,
 * without a leading dot. */
CHECKED bool reflection_set_find_symbol(const struct reflection_set *set, const char *name, size_t *file);

/* The encoded file and all that it depends on, itself first, each once. `files` has room for the count; returns how
 * many. */
size_t reflection_set_closure(const struct reflection_set *set, size_t file, struct bytes *files);

#endif
