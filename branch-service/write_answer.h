/* What the log keeps of an answer, so that a repeated request gets the first one: a BSON document of at most
 * MAX_REQUEST_ANSWER_BYTES. {c: code, m: message} for an error, {f: first, s: skipped, ...} counts otherwise;
 * what is zero is left out. */
#ifndef ARGON_BRANCH_WRITE_ANSWER_H
#define ARGON_BRANCH_WRITE_ANSWER_H

#include "branch-service/write.h"

struct write_answer {
    struct error failure; /* code ERROR_OK: none */
    struct write_counts counts;
    uint64_t lsn; /* of an outcome without effect: the state that was seen */
};

CHECKED bool write_answer_encode(const struct write_answer *answer, struct arena *arena, struct bytes *encoded, struct error *err);
CHECKED bool write_answer_decode(struct bytes encoded, struct write_answer *answer, struct error *err);

#endif
