/* What write.c (the state machine of one write) and write_named.c (finding its project) share. */
#ifndef ARGON_BRANCH_WRITE_WRITE_INTERNAL_H
#define ARGON_BRANCH_WRITE_WRITE_INTERNAL_H

#include "branch-service/catalog/catalog.h"
#include "branch-service/write/write.h"
#include "branch-service/write/write_answer.h"
#include "common/base/limits.h"
#include "common/base/random.h"

struct write {
    struct project *project;
    const struct write_request *request;
    write_evaluate_fn *evaluate;
    void *ctx;
    struct log_request step;
    char generated_id[ID_SIZE];
    uint64_t since_lsn;
    unsigned tries;
    unsigned lost;         /* times that this step has met a conflict */
    struct error conflict; /* the newest of this step */
    int64_t last_try;      /* none begins later */
    uint64_t begun;        /* of the project: the log that all tries go to */
    bool look;             /* ask for the request before the next try */
    bool unasked;          /* the user's id has not been looked for yet: an earlier copy may have been applied */
    bool repeatable;       /* somebody may send it again: an outcome without effect is committed too */
    bool maybe_applied;    /* an append's outcome is not known */

    struct write_progress progress;
    struct write_counts counts; /* of the steps before */
    uint64_t record_lsn;        /* the newest record of theirs */
    uint8_t after[MAX_DOCUMENT_ID_BYTES];
    char branch_id[WRITE_ID_SIZE];
    char collection_id[WRITE_ID_SIZE];
};

void write_begin(struct write *write, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx);

/* One try on what this replica has, without asking the log first, in the log in which the project was looked up. False: nothing is
 * said yet, write_finish it. Only an effect that the conflict check guards is appended. */
CHECKED bool write_try_known(struct write *write, struct project *project, const struct log_incarnation *as_of, struct write_result *result,
                             struct error *err);

/* The ordinary way, in a project that has been refreshed since the request arrived, and whose log had been begun so often then. */
CHECKED bool write_finish(struct write *write, struct project *project, uint64_t begun, struct write_result *result, struct error *err);

/* Says in err what a write that ends here did. False. */
bool write_give_up(const struct write *write, struct error *err);

#endif
