/* What queries hold while they gather documents counts against the memory budget of the views; views that nobody has looked
 * at for longest make room.
 *
 * Threads    any.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_QUERY_MEMORY_H
#define ARGON_BRANCH_DOCUMENTS_QUERY_MEMORY_H

#include "branch-service/view/view_cache.h"

/* More bytes, or less. RESOURCE_EXHAUSTED: there is no room for more, but they count until they are given back all the same:
 * the query has them already. */
CHECKED bool query_memory_charge(struct view_cache *cache, int64_t bytes, struct error *err);
void query_memory_return(struct view_cache *cache, uint64_t bytes);

#endif
