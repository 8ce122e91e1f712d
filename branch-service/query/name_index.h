/* Which of the fields of one document has a name. Few are gone through; many are in a hash table whose order nobody who
 * chooses names can know, so that a look-up takes about the same time whatever they are.
 *
 * Ownership  names are borrowed; the rest is in an arena.
 */
#ifndef ARGON_BRANCH_QUERY_NAME_INDEX_H
#define ARGON_BRANCH_QUERY_NAME_INDEX_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/bson/element.h"

enum { FEW_NAMES = 16 };

struct indexed_name {
    const char *name;
    uint32_t len;
    uint32_t hash; /* when there are many */
};

/* {0} is empty. Names have numbers, from 0 on, in the order in which they came. */
struct name_index {
    struct indexed_name *names;
    size_t n, capacity;
    uint32_t *slots; /* a name's number and one more, or 0; a power of two of them, at most half of them taken. NULL: few */
    size_t n_slots;
};

/* One that is not in it. False: no memory. */
CHECKED bool name_index_add(struct name_index *index, struct arena *arena, const char *name, size_t len);

/* Within: among many. */
bool name_index_search(const struct name_index *index, const char *name, size_t len, size_t *number);

static inline bool name_index_find(const struct name_index *index, const char *name, size_t len, size_t *number)
{
    if (index->slots)
        return name_index_search(index, name, len, number);
    for (size_t i = 0; i < index->n; i++) {
        if (index->names[i].len == len && memcmp(index->names[i].name, name, len) == 0) {
            *number = i;
            return true;
        }
    }
    return false;
}

#endif
