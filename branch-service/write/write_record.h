/* Records of steps as `_requests` keeps them: {_id, previous, record}. */
#ifndef ARGON_BRANCH_WRITE_WRITE_RECORD_H
#define ARGON_BRANCH_WRITE_WRITE_RECORD_H

#include "branch-service/log/log_source.h"
#include "common/base/arena.h"

/* record empty: only that there was a request. Fills in the entry's document_id and document. */
CHECKED bool write_record_encode(struct bytes request_id, uint32_t step, uint64_t previous, struct bytes record, struct arena *arena,
                                 struct log_entry *entry, struct error *err);

#endif
