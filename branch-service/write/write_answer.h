/* What the log keeps of an answer, so that a repeated request gets the first one: a BSON document of at most
 * MAX_REQUEST_ANSWER_BYTES with the counts of all steps so far, {code, message, reason, keys} of an error, and
 * {branch, collection}, what the names mean, when more steps follow. What is zero or empty is left out. */
#ifndef ARGON_BRANCH_WRITE_WRITE_ANSWER_H
#define ARGON_BRANCH_WRITE_WRITE_ANSWER_H

#include "branch-service/write/write.h"

enum { WRITE_ID_SIZE = 64 };

struct write_answer {
    struct error failure; /* code ERROR_OK: none */
    struct write_counts counts;
    uint64_t lsn; /* of an outcome without effect: the state that was seen */
    uint64_t operation;
    uint64_t recorded;   /* 1: the batch ends with a record */
    uint64_t record_lsn; /* of the newest one in front of it */
    char branch_id[WRITE_ID_SIZE];
    char collection_id[WRITE_ID_SIZE];
};

CHECKED bool write_answer_encode(const struct write_answer *answer, struct arena *arena, struct bytes *encoded, struct error *err);
CHECKED bool write_answer_decode(struct bytes encoded, struct write_answer *answer, struct error *err);

#endif
