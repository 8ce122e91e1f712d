/* What queries and writes hold while they are evaluated counts against the memory budget of the views; views that nobody has
 * looked at for longest make room.
 *
 * Threads    any.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_QUERY_MEMORY_H
#define ARGON_BRANCH_DOCUMENTS_QUERY_MEMORY_H

#include "branch-service/view/view_cache.h"
#include "common/base/meter.h"

/* The cache outlives what is held. */
struct meter query_memory_meter(struct view_cache *cache);

#endif
